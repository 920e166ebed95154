// Package emulator starts Google's own emulators of Firestore and Pub/Sub for tests and scripts, where the Google Cloud
// SDK has them installed.
package emulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Product is one of Google's services that has an emulator.
type Product struct {
	// Env is the environment variable that Google's clients read for the host of a running emulator.
	Env  string
	name string
	jar  string   // glob below the SDK's platform folder
	args []string // of java, before host and port
}

// The products. The command lines are those that gcloud itself ends up with; started by gcloud they would be trees of three
// processes, of which killing the first leaves the others.
var (
	Firestore = Product{
		Env:  "FIRESTORE_EMULATOR_HOST",
		name: "Firestore",
		jar:  "cloud-firestore-emulator/cloud-firestore-emulator.jar",
		args: []string{"-Duser.language=en", "-Xmx256m", "-cp", "JAR", "com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"},
	}
	PubSub = Product{
		Env:  "PUBSUB_EMULATOR_HOST",
		name: "Pub/Sub",
		jar:  "pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		args: []string{"-Xmx256m", "-jar", "JAR"},
	}
)

// ErrNotInstalled: the emulator, or the Java that it needs, is not on this machine.
var ErrNotInstalled = errors.New("not installed")

// Emulator is a running one.
type Emulator struct {
	Host   string // 127.0.0.1:port, or what the product's Env says
	cancel context.CancelFunc
	ended  <-chan struct{} // nil where somebody else started it
}

// starts and patience bound how often and how long, each time, Start waits for an emulator to answer.
const (
	starts   = 3
	patience = 60 * time.Second
)

// Start starts an emulator with no data on a free port and returns once it answers; it lives until Stop is called or ctx
// ends. Where the product's Env names a running one, that one is used and left running. ErrNotInstalled.
func Start(ctx context.Context, p Product) (*Emulator, error) {
	if host := os.Getenv(p.Env); host != "" {
		return &Emulator{Host: host, cancel: func() {}}, nil
	}
	java, jar, err := find(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("Google's %s emulator: %w", p.name, err)
	}
	for range starts {
		var e *Emulator
		// Between choosing a free port and listening on it another process may take it; hence the second try.
		if e, err = start(ctx, p, java, jar); err == nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("Google's %s emulator: %w", p.name, err)
}

// Stop kills the emulator and returns once it is gone.
func (e *Emulator) Stop() {
	e.cancel()
	if e.ended != nil {
		<-e.ended
	}
}

func start(ctx context.Context, p Product, java, jar string) (*Emulator, error) {
	host, port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := append([]string{}, p.args...)
	for i, arg := range args {
		if arg == "JAR" {
			args[i] = jar
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	log := new(tail)
	cmd := exec.CommandContext(ctx, java, append(args, "--host="+host, "--port="+port)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second
	ended, err := run(cmd)
	if err != nil {
		cancel()
		return nil, err
	}
	e := &Emulator{Host: net.JoinHostPort(host, port), cancel: cancel, ended: ended}
	if err := e.await(ctx); err != nil {
		e.Stop()
		return nil, fmt.Errorf("%w: %s", err, log)
	}
	return e, nil
}

// await returns once the emulator answers 200 to GET /.
func (e *Emulator) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("it does not answer"))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Host+"/", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second}
	for {
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.ended:
			return errors.New("it ended at once")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort() (host, port string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer listener.Close()
	return net.SplitHostPort(listener.Addr().String())
}

// find looks for Java and for the emulator's archive where the SDK may be.
func find(ctx context.Context, p Product) (java, jar string, err error) {
	if java, err = exec.LookPath("java"); err != nil {
		return "", "", fmt.Errorf("%w: it needs Java", ErrNotInstalled)
	}
	for _, root := range roots() {
		if jar := match(root, p); jar != "" {
			return java, jar, nil
		}
	}
	out, err := exec.CommandContext(ctx, "gcloud", "info", "--format=value(installation.sdk_root)").Output()
	if err == nil {
		if jar := match(strings.TrimSpace(string(out)), p); jar != "" {
			return java, jar, nil
		}
	}
	return "", "", ErrNotInstalled
}

// roots are the places of the SDK that can be known without asking gcloud, which takes a second.
func roots() []string {
	places := []string{"/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk"}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, "google-cloud-sdk"))
	}
	if gcloud, err := exec.LookPath("gcloud"); err == nil {
		if real, err := filepath.EvalSymlinks(gcloud); err == nil {
			places = append(places, filepath.Dir(filepath.Dir(real)))
		}
	}
	return places
}

func match(root string, p Product) string {
	found, _ := filepath.Glob(filepath.Join(root, "platform", p.jar)) // the pattern is ours and well formed
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// tail keeps the last 4 kB of what an emulator says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(strings.TrimSpace(string(t.text)), "it said nothing")
}
