package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/web"
)

//go:embed page
var folder embed.FS

//go:embed openapi.json
var openapi []byte

// asset is a file as browsers get it.
type asset struct {
	kind   string // its media type
	plain  []byte
	zipped []byte // nil where that would be longer
	tag    string // of HTTP's ETag
}

func newAsset(name string, text []byte) *asset {
	sum := sha256.Sum256(text)
	a := &asset{kind: kinds[path.Ext(name)], plain: text, tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	if zipped := zip(text); len(zipped) < len(text) {
		a.zipped = zipped
	}
	return a
}

// zip compresses into memory, which cannot fail.
func zip(text []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(text)
	w.Close()
	return b.Bytes()
}

// kinds are not asked of the machine, whose table may differ.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".svg": "image/svg+xml",
}

const (
	// A file whose address holds its version never changes.
	forever = "public, max-age=31536000, immutable"
	asked   = "no-cache" // kept, and asked for each time whether it has changed
)

// send answers with the asset, or that the browser has it already.
func (a *asset) send(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	h.Set("Cache-Control", cache)
	h.Set("ETag", a.tag)
	h.Add("Vary", "Accept-Encoding")
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.kind)
	text := a.plain
	if a.zipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		text = a.zipped
	}
	if r.Method != http.MethodHead {
		w.Write(text)
	}
}

// page is what is embedded: the files by name, and the version of all of them.
type page struct {
	files   map[string]*asset
	version string
}

const front = "index.html"

// embedded reads the page once. Its files lie under an address that holds the version, so that a page never gets a file of
// another version.
var embedded = sync.OnceValues(func() (page, error) {
	p := page{files: map[string]*asset{}}
	texts := map[string][]byte{}
	entries, err := fs.ReadDir(folder, "page")
	if err != nil {
		return p, fmt.Errorf("the page that is embedded: %w", err)
	}
	all := sha256.New()
	for _, entry := range entries {
		text, err := folder.ReadFile("page/" + entry.Name())
		if err != nil {
			return p, fmt.Errorf("the page that is embedded: %w", err)
		}
		texts[entry.Name()] = text
		all.Write(text)
	}
	p.version = hex.EncodeToString(all.Sum(nil)[:6])
	texts[front] = bytes.ReplaceAll(texts[front], []byte(`"page/`), []byte(`"page/`+p.version+`/`))
	for name, text := range texts {
		p.files[name] = newAsset(name, text)
	}
	return p, nil
})

// index serves the page itself. Its other addresses are relative, so they need the slash at the end.
func (p *Portal) index(w http.ResponseWriter, r *http.Request) error {
	if at, query, _ := strings.Cut(r.RequestURI, "?"); !strings.HasSuffix(at, "/") {
		to := path.Base(at) + "/"
		if query != "" {
			to += "?" + query
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	page, err := embedded()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", p.policy())
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	page.files[front].send(w, r, asked)
	return nil
}

// file serves what the page is made of.
func (p *Portal) file(w http.ResponseWriter, r *http.Request) error {
	page, err := embedded()
	if err != nil {
		return err
	}
	a, ok := page.files[r.PathValue("file")]
	if !ok || r.PathValue("file") == front {
		return web.NotFound("The page has no such file.")
	}
	cache := forever
	if r.PathValue("version") != page.version { // while a new version is being deployed, the old page goes on with the new files
		cache = asked
	}
	a.send(w, r, cache)
	return nil
}

// widget serves a provider's part of the page.
func (p *Portal) widget() func(http.ResponseWriter, *http.Request) error {
	widgets := map[string]*asset{}
	for name, d := range p.Banks {
		if module := d.Front().Widget; module != nil {
			widgets[name+".js"] = newAsset(".js", module)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		a, ok := widgets[r.PathValue("provider")]
		if !ok {
			return web.NotFound("There is no such widget.")
		}
		a.send(w, r, asked)
		return nil
	}
}

// widened are the directives in which a provider may name hosts.
var widened = []string{"script-src", "frame-src", "connect-src", "img-src", "font-src", "style-src"}

// policy lets the page run its own files, call the functions, and show what providers bring; nothing else, and nothing that
// is written into the page.
func (p *Portal) policy() string {
	sources := map[string][]string{
		"script-src": {"'self'"}, "style-src": {"'self'"}, "connect-src": {"'self'"}, "img-src": {"'self'", "data:"},
	}
	add := func(directive, origin string) {
		if !slices.Contains(sources[directive], origin) {
			sources[directive] = append(sources[directive], origin)
		}
	}
	f := p.Functions
	for _, at := range []string{f.Auth, f.Connect, f.Link, f.Remove, f.Disconnect, f.Reconnect} {
		if o := origin(at); o != "" {
			add("connect-src", o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Banks)) {
		for directive, hosts := range p.Banks[name].Front().Hosts {
			for _, host := range hosts {
				if slices.Contains(widened, directive) && host != "" && origin(host) == host {
					add(directive, host)
				}
			}
		}
	}
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	for _, directive := range slices.Sorted(maps.Keys(sources)) {
		policy += "; " + directive + " " + strings.Join(sources[directive], " ")
	}
	return policy
}

// origin is that of a URL; "" where it has none.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Config is what the page must know before anybody has signed in.
type Config struct {
	Functions Functions  `json:"functions"`
	Providers []Provider `json:"providers"`
	Support   string     `json:"support"` // e-mail address
	Privacy   string     `json:"privacy"` // URL of the privacy policy
	Book      string     `json:"book"`    // URL of a Book's transactions as people see them; {book} stands for its id
}

// Functions are the URLs of the functions that pages call; no slash at the end.
type Functions struct {
	Auth       string `json:"auth"`
	Connect    string `json:"connect"`
	Link       string `json:"link"`
	Remove     string `json:"remove"`
	Disconnect string `json:"disconnect"`
	Reconnect  string `json:"reconnect"`
}

// Provider is what the page must know of a provider.
type Provider struct {
	Name   string   `json:"name"`
	Days   int      `json:"days"`             // of history that its banks give at most
	Adds   []string `json:"adds,omitempty"`   // countries in which more accounts of a connection can be shared later
	Widget string   `json:"widget,omitempty"` // its ES module, relative to the portal function; see bank.Front
}

func (p *Portal) config(w http.ResponseWriter, _ *http.Request) error {
	c := Config{Functions: p.Functions, Providers: []Provider{}, Support: p.Support, Privacy: p.Privacy, Book: p.Book}
	for _, name := range slices.Sorted(maps.Keys(p.Banks)) {
		front := p.Banks[name].Front()
		c.Providers = append(c.Providers, Provider{name, front.Days, front.Adds, widgetAt(name, front)})
	}
	return web.JSON(w, http.StatusOK, c)
}

func widgetAt(name string, f bank.Front) string {
	if f.Widget == nil {
		return ""
	}
	return "widgets/" + url.PathEscape(name) + ".js"
}

// document serves the OpenAPI description of every function that a page or a person calls.
func document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openapi)
	return err
}
