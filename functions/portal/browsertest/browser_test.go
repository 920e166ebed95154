package browsertest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", filepath.Join("..", "..", "..", "data", "screenshots"), "folder that keeps a picture of every screen")

// patience is how long a person waits for something to show.
const patience = 20 * time.Second

// chromium is the one browser of the whole run; every person has a profile of their own in it.
type chromium struct {
	ctx   context.Context
	agent string // the User-Agent header
	stop  func()
}

var theBrowser = sync.OnceValues(startBrowser)

var errNoBrowser = errors.New("Chromium is not found")

func startBrowser() (*chromium, error) {
	path, err := findBrowser()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "portal-browser-")
	if err != nil {
		return nil, err
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.WindowSize(1280, 900)}
	for name, value := range map[string]any{
		"headless": "new", "no-sandbox": true, "disable-gpu": true, "disable-quic": true, "no-first-run": true, "no-default-browser-check": true,
		"disable-background-networking": true, "disable-component-update": true, "disable-sync": true, "disable-extensions": true,
		"disable-dev-shm-usage": true, "hide-scrollbars": true, "force-color-profile": "srgb", "password-store": "basic",
		// Several people's windows lie behind each other, and none of them sleeps.
		"disable-background-timer-throttling": true, "disable-backgrounding-occluded-windows": true, "disable-renderer-backgrounding": true,
	} {
		options = append(options, chromedp.Flag(name, value))
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stop := func() {
		cancel()
		end()
		os.RemoveAll(profile)
	}
	version, err := chromedp.CallBrowser(ctx, browser.GetVersion, chromedp.Void{})
	if err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &chromium{ctx, strings.ReplaceAll(version.UserAgent, "Headless", ""), stop}, nil
}

func findBrowser() (string, error) {
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "/Applications/Chromium.app/Contents/MacOS/Chromium",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoBrowser
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The people in these tests wait most of the time.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		parallel.Value.Set(strconv.Itoa(2 * goruntime.GOMAXPROCS(0)))
	}
	code := m.Run()
	if wanted.Load() {
		if b, err := theBrowser(); err == nil {
			b.stop()
		}
	}
	os.Exit(code)
}

var wanted atomic.Bool // a test wanted the browser

// useBrowser skips the test where there is none, or none that starts.
func useBrowser(t *testing.T) *chromium {
	t.Helper()
	wanted.Store(true)
	b, err := theBrowser()
	if err != nil {
		t.Skipf("left out: %v", err)
	}
	return b
}

func TestABrowserAndAxeAreThere(t *testing.T) {
	useBrowser(t)
	if _, err := axeSource(); err != nil {
		t.Skipf("left out: %v", err)
	}
}

// look is what a person's browser is like. The zero look is that of a desktop, in English and light.
type look struct {
	languages string // Accept-Language
	dark      bool
	phone     bool
}

// person is somebody with a browser profile of their own: cookies, windows.
type person struct {
	w       *world
	t       *testing.T
	b       *chromium
	look    look
	id      context.Context // of the profile
	windows map[target.ID]bool
}

// person opens a browser with an empty profile.
func (w *world) person(l look) *person {
	w.t.Helper()
	b := useBrowser(w.t)
	if l.languages == "" {
		l.languages = "en-US,en"
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	w.t.Cleanup(cancel)
	return &person{w: w, t: w.t, b: b, look: l, id: ctx, windows: map[target.ID]bool{}}
}

// window is one that a person has open.
type window struct {
	p   *person
	t   *testing.T
	ctx context.Context
	bad *faults
}

// open opens an address, of this world where it begins with a slash, in a new window.
func (p *person) open(address string) screen {
	p.t.Helper()
	ctx, cancel := p.id, context.CancelFunc(func() {})
	if len(p.windows) > 0 {
		ctx, cancel = chromedp.NewContext(p.id)
	}
	p.t.Cleanup(cancel)
	b := p.attach(ctx)
	// Windows that a page opens have the size that it gave them.
	b.try("set the size of a window", call(ctx, emulation.SetDeviceMetricsOverride, p.look.screen()))
	b.goTo(address)
	return b
}

// attach makes a window look as the person's do, and listens to its complaints.
func (p *person) attach(ctx context.Context) screen {
	p.t.Helper()
	b := screen{window: &window{p: p, t: p.t, ctx: ctx, bad: &faults{t: p.t}}}
	b.try("open a window", chromedp.Do(ctx))
	p.windows[chromedp.FromContext(ctx).Target.TargetID] = true
	b.try("listen", chromedp.Listen(ctx, b.bad.hear))
	for _, err := range []error{
		call(ctx, log.Enable, chromedp.Void{}),
		call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: p.b.agent, AcceptLanguage: p.look.languages}),
		call(ctx, emulation.SetEmulatedMedia, p.look.media()),
		call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"}), // as the tests count days
	} {
		b.try("set a window up", err)
	}
	p.t.Cleanup(b.bad.check)
	return b
}

func (l look) screen() emulation.SetDeviceMetricsOverrideParams {
	if l.phone {
		return emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 844, DeviceScaleFactor: 1, Mobile: true}
	}
	return emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 900, DeviceScaleFactor: 1}
}

func (l look) media() emulation.SetEmulatedMediaParams {
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	return emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
}

// soon is the window's context for one command, which may wait in vain while the window goes to another page.
func (b *window) soon() context.Context {
	ctx, cancel := context.WithTimeout(b.ctx, patience/2)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// faults are what a page must never do: throw, or try what its policy forbids.
type faults struct {
	t    *testing.T
	mu   sync.Mutex
	told []string
}

func (f *faults) hear(ev any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		f.told = append(f.told, thrown(ev.ExceptionDetails).Error())
	case *log.EventEntryAdded:
		// A refusal is an answer like any other; the page tells of it in words.
		if ev.Entry.Level == log.EntryLevelError && ev.Entry.Source != log.EntrySourceNetwork {
			f.told = append(f.told, ev.Entry.Text)
		}
	}
}

// forgive forgets what was heard so far.
func (f *faults) forgive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = nil
}

func (f *faults) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, text := range f.told {
		f.t.Errorf("the browser complains: %s", text)
	}
}

// goTo opens an address in the same window.
func (b *window) goTo(address string) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.p.w.url + address
	}
	b.try("open "+address, chromedp.Do(b.soon(), chromedp.Navigate(address)))
}

// reload reads the page again.
func (b *window) reload() {
	b.t.Helper()
	b.try("reload", chromedp.Do(b.soon(), chromedp.Reload()))
}

// address is where the window is.
func (b *window) address() string {
	b.t.Helper()
	at, err := chromedp.Run(b.soon(), chromedp.Location())
	b.try("read the address", err)
	return at
}

// close closes the window, as its person does.
func (b *window) close() {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).Target.TargetID
	_, err := chromedp.CallBrowser(b.p.id, target.CloseTarget, target.CloseTargetParams{TargetID: id})
	b.try("close a window", err)
	b.closed()
}

// closed waits until the window is gone.
func (b *window) closed() {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).Target.TargetID
	wait(b.t, "the window closes", func() string {
		all, err := chromedp.Targets(b.p.id)
		b.try("list windows", err)
		for _, info := range all {
			if info.TargetID == id {
				return "it shows " + info.URL
			}
		}
		return ""
	}, nil)
}

// popup waits for the window that an act opens.
func (b *window) popup(act func()) screen {
	b.t.Helper()
	act()
	profile := chromedp.FromContext(b.p.id).BrowserContextID
	// chromedp has a data race where it attaches to a window whose document still comes.
	var found target.ID
	before := ""
	wait(b.t, "a window opens", func() string {
		all, err := chromedp.Targets(b.p.id)
		b.try("list windows", err)
		now := "none did"
		for _, info := range all {
			if info.Type == "page" && info.BrowserContextID == profile && !b.p.windows[info.TargetID] {
				found, now = info.TargetID, "it is at "+info.URL+" "+info.Title
				if now == before && info.URL != "about:blank" && info.Title != "" {
					return ""
				}
			}
		}
		before = now
		return now
	}, b)
	ctx, cancel := chromedp.NewContext(b.p.id, chromedp.WithTargetID(found))
	b.t.Cleanup(cancel)
	return b.p.attach(ctx)
}

// before runs a script in every page that the window opens from now on, before the page's own.
func (b *window) before(script string) {
	b.t.Helper()
	_, err := chromedp.Call(b.soon(), page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	b.try("add a script", err)
}

// try fails the test with what is on the screen.
func (b *window) try(what string, err error) {
	if err == nil {
		return
	}
	b.t.Helper()
	b.t.Fatalf("%s: %v\n%s", what, err, b.outline())
}

// wait asks until there is no reason left to wait, or patience ends; more and more seldom, since to ask takes the browser's time.
func wait(t *testing.T, what string, reason func() string, shown *window) {
	t.Helper()
	const first, most = 20 * time.Millisecond, 160 * time.Millisecond
	pause := first
	for until := time.Now().Add(patience); ; pause = min(pause*2, most) {
		why := reason()
		if why == "" {
			return
		}
		if time.Now().Before(until) {
			time.Sleep(pause) // polls another process
			continue
		}
		screen := ""
		if shown != nil {
			shown.picture("failed " + t.Name())
			screen = "\n" + shown.outline()
		}
		t.Fatalf("waited %v until %s: %s%s", patience, what, why, screen)
	}
}

// capture tries again where the window was on its way to another page, for which Chromium may wait in vain.
func (b *window) capture() (image []byte, err error) {
	for range 5 {
		ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
		image, err = chromedp.Run(ctx, chromedp.CaptureScreenshot())
		cancel()
		if err == nil {
			break
		}
	}
	return image, err
}

// picture keeps what a screen looks like.
func (b *window) picture(name string) {
	b.t.Helper()
	image, err := b.capture()
	if err != nil {
		b.t.Errorf("take a picture of %s: %v", name, err)
		return
	}
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '-'
		}
		return r
	}, name)
	if err := os.MkdirAll(*screenshots, 0o755); err != nil {
		b.t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), image, 0o644); err != nil {
		b.t.Error(err)
	}
}
