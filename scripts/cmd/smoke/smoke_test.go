package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events/pubsub/puller"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/emulator"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
)

func unset(string) string { return "" }

// smoked runs the command.
func smoked(t *testing.T, env func(string) string, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, env, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// build builds a program of this project.
func build(t *testing.T, program string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), filepath.Base(program))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", at, "./"+program)
	cmd.Dir = filepath.Join("..", "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return at
}

// all must be said of a system that works.
func all(t *testing.T, code int, out string) {
	t.Helper()
	if code != 0 || strings.Contains(out, "FAILED") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for _, line := range []string{
		"ok        webhook answers", "ok        a webhook with a forged signature is refused", "ok        sync refuses a forged token",
		"ok        a bank is connected", "ok        a new transaction at the bank becomes a draft", "ok        the bank is disconnected",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
}

var served = regexp.MustCompile(`on (http://\S+)`)

func TestWhatScriptsDevServesPasses(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), build(t, "scripts/cmd/dev"), "-port", "0", "-data", t.TempDir())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Cancel() // it has ended already, or will
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	at := served.FindStringSubmatch(line)
	if at == nil {
		t.Fatalf("no URL in %q", line)
	}
	code, out := smoked(t, unset, at[1])
	all(t, code, out)
	t.Run("twice, and with what stands in for Plaid's Sandbox", func(t *testing.T) {
		env := map[string]string{"PLAID_CLIENT_ID": world.PlaidClient, "PLAID_SECRET": "sandbox-secret", "PLAID_URL": at[1] + "/sandbox/plaid"}
		code, out := smoked(t, func(name string) string { return env[name] }, "-timeout", "2m", at[1]+"/")
		all(t, code, out)
		for _, line := range []string{"ok        Plaid's Sandbox makes an item", "ok        Plaid's Sandbox removes the item"} {
			if !strings.Contains(out, line) {
				t.Errorf("%q is not in\n%s", line, out)
			}
		}
	})
}

// TestTheBinaryThatIsDeployedPasses serves the functions by functions/main itself, as on Google Cloud, with Google's emulators
// of Firestore and Pub/Sub: that binary has no queue of its own. Secret Manager has none, so tokens are in a file.
func TestTheBinaryThatIsDeployedPasses(t *testing.T) {
	hosts := map[string]string{}
	for _, p := range []emulator.Product{emulator.PubSub, emulator.Firestore} {
		e, err := emulator.Start(t.Context(), p)
		if errors.Is(err, emulator.ErrNotInstalled) {
			t.Skip("not run: " + err.Error())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		t.Setenv(p.Env, e.Host)
		hosts[p.Env] = e.Host
	}
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	w := outside(t, front.URL)
	w.Mount(mux, w.Whose)
	port := freePort(t)
	mux.Handle("/", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "127.0.0.1:" + port}))
	env := w.Env(nil)
	maps.Copy(env, hosts)
	env["GOOGLE_CLOUD_PROJECT"], env["VAULT"], env["DATA_FILE"], env["PORT"] = "demo-smoke", "sqlite", filepath.Join(t.TempDir(), "portal.db"), port
	viewer := newViewer(t)
	env["OTEL_EXPORTER_OTLP_ENDPOINT"] = viewer.URL
	deliver(t, w, env)
	stop := serve(t, env)

	code, out := smoked(t, unset, front.URL)
	all(t, code, out)
	stop()
	viewer.saw(t, "/v1/traces", "webhook webhook", "publish rings", "handle poster", "/sandbox/plaid/transactions/sync", "google.firestore.v1.Firestore/Commit")
	viewer.saw(t, "/v1/metrics", "portal_webhooks_total", "portal_events_total", "portal_call_seconds", "service.instance.id", "demo-smoke")
}

// viewer takes spans and numbers.
type viewer struct {
	*httptest.Server
	mu   sync.Mutex
	sent map[string]*bytes.Buffer // by path
}

func newViewer(t *testing.T) *viewer {
	t.Helper()
	v := &viewer{sent: map[string]*bytes.Buffer{"/v1/traces": {}, "/v1/metrics": {}}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if to := v.sent[r.URL.Path]; to == nil {
			w.WriteHeader(http.StatusNotFound)
		} else if _, err := to.ReadFrom(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(v.Close)
	return v
}

// saw checks what was sent, in which texts stand as they are; a token must not be among them.
func (v *viewer) saw(t *testing.T, path string, texts ...string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	sent := v.sent[path].String()
	for _, text := range texts {
		if !strings.Contains(sent, text) {
			t.Errorf("%q was not sent to %s, of %d bytes", text, path, len(sent))
		}
	}
	for _, text := range []string{"access-sandbox-", "link-sandbox-", "public-sandbox-", "sandbox-secret", "Bearer "} {
		if strings.Contains(sent, text) {
			t.Errorf("%q was sent to %s", text, path)
		}
	}
}

// outside is a sandbox with the person as whom the command signs in.
func outside(t *testing.T, at string) *world.World {
	t.Helper()
	w, err := world.New(world.Options{
		URL: at, Log: slog.New(slog.DiscardHandler), Retry: 100 * time.Millisecond, People: []google.User{{Email: sandboxPerson, Name: "Client"}},
		Bank: plaid.Config{InitialDelay: 50 * time.Millisecond, HistoricalDelay: 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	person := bkper.User{ID: google.Sub(sandboxPerson), Email: sandboxPerson, Name: "Client"}
	if err := bkper.Seed(w.Bkper, person, bkper.User{ID: "other", Email: "other@example.com", Name: "Other"}); err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) {
		if err := w.Plaid.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

// background runs do until the test ends.
func background(t *testing.T, do func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); do(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// deliver stands in for Pub/Sub's own pushes, to which the emulator adds no token.
func deliver(t *testing.T, w *world.World, env map[string]string) {
	t.Helper()
	cfg, err := config.Read(t.Context(), envconfig.MapLookuper(env))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	p, err := puller.Open(t.Context(), puller.Config{Project: cfg.Project, Targets: app.New(cfg, quiet).Targets(), Token: w.Token, Deadline: time.Minute, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	background(t, p.Run)
}

// deployed is the binary out of the very image that scripts/image makes; on another machine than Cloud Run's, which could not
// start it, one of the same source.
func deployed(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Log("the image's binary is for linux/amd64: one of the same source stands in for it")
		return build(t, "functions/main")
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "image.tar")
	if out, err := exec.CommandContext(t.Context(), build(t, "scripts/cmd/image"), "-tar", archive).CombinedOutput(); err != nil {
		t.Fatalf("image: %v\n%s", err, out)
	}
	packed, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpack(t, packed, dir)
	at, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := at.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the archive has other than one image: %v", err)
	}
	image, err := at.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(image)
	defer files.Close()
	unpack(t, files, dir)
	return filepath.Join(dir, "functions")
}

// unpack writes the files of an archive below a folder.
func unpack(t *testing.T, archive io.Reader, dir string) {
	t.Helper()
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
}

// serve starts the binary and waits until it serves; stop ends it as Cloud Run does.
func serve(t *testing.T, env map[string]string) (stop func()) {
	t.Helper()
	cmd := exec.Command(deployed(t))
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // where it has ended, Wait tells
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ends with %v\n%s", err, log.String())
		}
	})
	t.Cleanup(stop)
	for range 100 {
		answer, err := http.Get("http://127.0.0.1:" + env["PORT"] + "/portal/openapi.json")
		if err == nil {
			answer.Body.Close()
			return stop
		}
		time.Sleep(50 * time.Millisecond) // it is another process
	}
	t.Fatal("it does not serve")
	return nil
}

func TestASystemThatTakesEverybodyFails(t *testing.T) {
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer open.Close()
	code, out := smoked(t, unset, open.URL)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, r := range requests() {
		if r.want[0].status != http.StatusOK && !strings.Contains(out, "FAILED    "+r.what+":") {
			t.Errorf("%s: not noticed", r.what)
		}
	}
	if !strings.Contains(out, "left out  the main job: something failed before") {
		t.Errorf("the main job is begun\n%s", out)
	}
}

func TestARefusalThatIsNotOursIsNoSignThatAFunctionAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer elsewhere.Close()
	_, out := smoked(t, unset, elsewhere.URL)
	for what, holds := range map[string]bool{"link refuses a stranger": false, "sync refuses a stranger": true} {
		if strings.Contains(out, "ok        "+what) != holds {
			t.Errorf("%s: want %v\n%s", what, holds, out)
		}
	}
}

func TestACommandThatIsNotOneIsSaidToBeNone(t *testing.T) {
	for want, rows := range map[int][][]string{
		0: {{"-help"}, {"--help"}},
		1: {{"http://127.0.0.1:1"}},
		2: {{}, {"localhost:8080"}, {"ftp://x"}, {"http://x", "http://y"}, {"-nonsense"}, {"http://x?y=z"}},
	} {
		for _, args := range rows {
			if code, out := smoked(t, unset, args...); code != want || out == "" {
				t.Errorf("%q: exit code %d, want %d\n%s", args, code, want, out)
			}
		}
	}
}

func TestAStarStandsForTheFunction(t *testing.T) {
	for path, want := range map[string]string{"/connect/push": "https://connect-1.run.app/connect/push", "/link": "https://link-1.run.app/link"} {
		if got := world.At("https://*-1.run.app", path); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
}
