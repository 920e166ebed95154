package browsertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe-core finds what keeps people with disabilities out. Its licence is not ours, so it is fetched rather than copied, by npm
// where that is installed, once, and compared with what npm's registry says of this version.
const (
	axeVersion   = "4.14.1"
	axeIntegrity = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==" // SHA-512 of the package
	axeFile      = "package/axe.min.js"
	axePatience  = time.Minute // of npm
)

var errNoAxe = errors.New("axe-core, which looks for what keeps people out, is not in the cache and npm does not bring it")

var axeSource = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "automations-portal", "axe-core-"+axeVersion+".tgz")
	if text, err := readAxe(kept); err == nil {
		return text, nil
	}
	if err := fetchAxe(kept); err != nil {
		return "", err
	}
	return readAxe(kept)
})

// fetchAxe lets npm bring the package.
func fetchAxe(to string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errNoAxe
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	place, err := os.MkdirTemp(filepath.Dir(to), "axe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(place)
	ctx, cancel := context.WithTimeout(context.Background(), axePatience)
	defer cancel()
	pack := exec.CommandContext(ctx, npm, "pack", "axe-core@"+axeVersion, "--ignore-scripts", "--silent")
	pack.Dir = place
	if err := pack.Run(); err != nil {
		return errNoAxe
	}
	return os.Rename(filepath.Join(place, filepath.Base(to)), to)
}

// readAxe takes the script out of the package, if the package is the one that we know.
func readAxe(file string) (string, error) {
	packed, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if sum := sha512.Sum512(packed); base64.StdEncoding.EncodeToString(sum[:]) != axeIntegrity {
		return "", fmt.Errorf("%s is not axe-core %s", file, axeVersion)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	for in := tar.NewReader(plain); ; {
		h, err := in.Next()
		if err != nil {
			return "", fmt.Errorf("%s in %s: %w", axeFile, file, err)
		}
		if h.Name == axeFile {
			text, err := io.ReadAll(in)
			return string(text), err
		}
	}
}

// violation is what axe-core says of a screen.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible fails where the screen keeps somebody out, and keeps its picture. The first look needs the browser only; the
// second is axe-core's, with its rules for WCAG 2.2 AA.
func (b *window) accessible(name string) {
	b.t.Helper()
	wait(b.t, name+" is there", func() string {
		there, err := chromedp.Run(b.soon(), chromedp.Evaluate[bool](`document.readyState === "complete" && document.querySelector("h1") !== null`))
		if err != nil {
			return err.Error()
		}
		if !there {
			return "it has no heading yet"
		}
		return ""
	}, b)
	b.picture(name)
	b.named(name)
	b.fits(name)
	source, err := axeSource()
	if err != nil {
		b.t.Logf("%s: not checked with axe-core: %v", name, err)
		return
	}
	for _, v := range b.axe(source) {
		text := fmt.Sprintf("%s: axe-core, %s: %s (%s)", name, v.Impact, v.Help, v.ID)
		for _, n := range v.Nodes[:min(len(v.Nodes), 3)] {
			text += "\n" + n.HTML + "\n" + n.FailureSummary
		}
		b.t.Error(text)
	}
}

// axe looks at the page and at what is shown in frames over it.
func (b *window) axe(source string) (violations []violation) {
	b.t.Helper()
	tree, err := chromedp.Call(b.soon(), page.GetFrameTree, chromedp.Void{})
	b.try("find the page", err)
	var look func(*page.FrameTree)
	look = func(at *page.FrameTree) {
		violations = append(violations, b.axeIn(at.Frame.ID, source)...)
		for _, inner := range at.ChildFrames {
			look(inner)
		}
	}
	look(tree.FrameTree)
	return violations
}

// axeIn runs the script in one frame, apart from the page's own, so that neither sees the other.
func (b *window) axeIn(frame cdp.FrameID, source string) (violations []violation) {
	b.t.Helper()
	apart, err := chromedp.Call(b.soon(), page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "axe"})
	b.try("make room for axe-core", err)
	run := func(expression string) []byte {
		r, err := chromedp.Call(b.soon(), runtime.Evaluate, runtime.EvaluateParams{
			Expression: expression, ContextID: apart.ExecutionContextID, AwaitPromise: new(true), ReturnByValue: new(true),
		})
		if err == nil && r.ExceptionDetails != nil {
			err = thrown(r.ExceptionDetails)
		}
		b.try("run axe-core", err)
		return r.Result.Value
	}
	run(source + "; true")
	found := run(`axe.run(document, {
		runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"], iframes: false,
	}).then((r) => r.violations)`)
	b.try("read what axe-core found", json.Unmarshal(found, &violations))
	return violations
}

// used are the roles that a person acts on; a screen reader says nothing but the name.
var used = []string{
	"button", "link", "textbox", "searchbox", "combobox", "listbox", "checkbox", "radio", "switch", "tab", "menuitem", "slider", "spinbutton",
	"option", "image", "img", "dialog", "alertdialog", "progressbar", "region", "heading",
}

// named fails where something has no name, or the page no title, language or first heading.
func (b *window) named(name string) {
	b.t.Helper()
	tree, err := chromedp.Call(b.soon(), accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	b.try("read the screen", err)
	for _, n := range tree.Nodes {
		c := controlOf(n)
		if !n.Ignored && c.name == "" && slices.Contains(used, c.role) {
			b.t.Errorf("%s: a %s has no name (%s)", name, c.role, b.html(c))
		}
	}
	page, err := chromedp.Run(b.soon(), chromedp.Evaluate[[]string](`[document.title, document.documentElement.lang, document.querySelector("h1")?.innerText ?? ""]`))
	b.try("read the screen", err)
	for i, what := range []string{"title", "language", "first heading"} {
		if strings.TrimSpace(page[i]) == "" {
			b.t.Errorf("%s: the page has no %s", name, what)
		}
	}
}

// fits fails where the page is wider than the screen, so that lines must be read by scrolling to and fro.
func (b *window) fits(name string) {
	b.t.Helper()
	wider, err := chromedp.Run(b.soon(), chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
	b.try("measure the page", err)
	if wider > 0 {
		b.t.Errorf("%s: the page is %d pixels wider than the screen", name, wider)
	}
}

func (b *window) html(c control) string {
	text, err := on[string](b, c.node, `function() { return (this.outerHTML ?? "").slice(0, 200); }`)
	if err != nil {
		return err.Error()
	}
	return text
}

func TestWhatKeepsPeopleOutIsFoundOnThePageAndInFrames(t *testing.T) {
	t.Parallel()
	source, err := axeSource()
	if err != nil {
		t.Skipf("left out: %v", err)
	}
	const nameless = `<!doctype html><html lang="en"><title>Nameless</title><main><h1>Nameless</h1><button><svg></svg></button></main>`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/frame" {
			io.WriteString(w, nameless)
		} else {
			io.WriteString(w, nameless+`<iframe title="inner" src="/frame"></iframe>`)
		}
	}))
	defer server.Close()
	b := newWorld(t).person(look{}).open(server.URL)
	wait(t, "two nameless buttons are found", func() string {
		found := 0
		for _, v := range b.axe(source) {
			if v.ID == "button-name" {
				found += len(v.Nodes)
			}
		}
		if found != 2 {
			return fmt.Sprintf("%d are", found)
		}
		return ""
	}, b.window)
}
