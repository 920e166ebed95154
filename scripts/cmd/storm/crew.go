package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// crew is the processes that serve the functions, behind one address, as instances of a service are.
type crew struct {
	workers []*worker
	next    atomic.Uint64
	fallen  chan error // workers that ended though nobody killed them
}

// worker is one place in the crew: a process that is started again whenever it has ended.
type worker struct {
	name    string
	port    int
	command func() *exec.Cmd
	proxy   *httputil.ReverseProxy

	mu      sync.Mutex
	process *os.Process // that takes requests; nil while it starts
	killed  bool
	busy    map[string]int // requests under way, by function
}

// enlist makes the places of a crew. The command gets the port to listen on.
func enlist(size int, command func(port int) *exec.Cmd) (*crew, error) {
	c := &crew{fallen: make(chan error, size)}
	for i := range size {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		c.workers = append(c.workers, &worker{
			name: fmt.Sprintf("worker %d", i+1), port: port, busy: map[string]int{},
			command: func() *exec.Cmd { return command(port) }, proxy: proxy(port),
		})
	}
	return c, nil
}

// freePort finds a port below those that the system gives to outgoing connections: while a worker is down nobody else may
// take its port.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between 20000 and 30000")
}

func proxy(port int) *httputil.ReverseProxy {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(port))})
	p.Transport = &http.Transport{DisableKeepAlives: true}
	p.ErrorLog = log.New(io.Discard, "", 0)
	p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	return p
}

// run keeps all workers up until ctx ends, and returns when they are gone.
func (c *crew) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range c.workers {
		all.Go(func() {
			runtime.LockOSThread() // see dieWithUs; the thread ends with this goroutine
			for ctx.Err() == nil {
				if err := w.live(ctx); err != nil {
					c.fallen <- err
					return
				}
			}
		})
	}
	all.Wait()
}

// live is one life of the process.
func (w *worker) live(ctx context.Context) error {
	cmd := w.command()
	dieWithUs(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	ready, stop := context.WithCancel(ctx)
	go w.await(ready, cmd.Process)
	unwatch := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
	err := cmd.Wait()
	stop()
	unwatch()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process = nil
	asked := w.killed || ctx.Err() != nil
	w.killed = false
	if !asked {
		return fmt.Errorf("%s ended by itself: %w", w.name, err)
	}
	return nil
}

// await lets a process take requests once it listens.
func (w *worker) await(ctx context.Context, p *os.Process) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("localhost", strconv.Itoa(w.port)), time.Second)
		if err == nil {
			conn.Close()
			w.mu.Lock()
			defer w.mu.Unlock()
			if ctx.Err() == nil {
				w.process = p
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kill kills the process that takes requests, if there is one, and tells the functions that it was serving.
func (w *worker) kill() (serving []string, killed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == nil || w.process.Kill() != nil {
		return nil, false
	}
	w.process, w.killed = nil, true
	for function, n := range w.busy {
		if n > 0 {
			serving = append(serving, function)
		}
	}
	return serving, true
}

// begin counts a request, unless the worker takes none.
func (w *worker) begin(function string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == nil {
		return false
	}
	w.busy[function]++
	return true
}

func (w *worker) finish(function string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[function]--
}

func (w *worker) serves(function string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.process != nil && w.busy[function] > 0
}

func (w *worker) up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.process != nil
}

// ServeHTTP hands requests to the workers in turn.
func (c *crew) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	function := functionOf(r.URL.Path)
	first := c.next.Add(1)
	for i := range c.workers {
		w := c.workers[(first+uint64(i))%uint64(len(c.workers))]
		if w.begin(function) {
			defer w.finish(function)
			w.proxy.ServeHTTP(out, r)
			return
		}
	}
	out.WriteHeader(http.StatusServiceUnavailable)
}

func functionOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}

// targets are the functions during which processes are killed: what writes in several places. The last ones only where none
// of the others is at work: they wait long for a dead process to be silent, and would be hit in that most of the time.
var targets, lesser = []string{"poster", "connect", "disconnect", "reconnect"}, []string{"link", "remove"}

// waiting is how long the killer waits for the kind of work that was hit least, and then for any.
const waiting = 2 * time.Second

// strike kills a worker in the middle of some work: for a while of the kinds that were hit least so far, then of any kind,
// and at last any worker.
func (c *crew) strike(ctx context.Context, rng *rand.Rand, hit map[string]int) (serving []string, err error) {
	rare := shuffled(rng, targets)
	slices.SortStableFunc(rare, func(a, b string) int { return hit[a] - hit[b] })
	for begun := time.Now(); ; {
		var victim *worker
		switch waited := time.Since(begun); {
		case waited < waiting:
			victim = c.victim(rng, rare[:2], false)
		default:
			victim = c.victim(rng, slices.Concat(rare, lesser), waited > 2*waiting)
		}
		if victim != nil {
			if err := pause(ctx, rng, 0, 60*time.Millisecond); err != nil {
				return nil, err
			}
			if serving, killed := victim.kill(); killed {
				return serving, nil
			}
		}
		if err := pause(ctx, rng, time.Millisecond, 4*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// victim finds a worker that serves one of the functions, the first ones first.
func (c *crew) victim(rng *rand.Rand, functions []string, anybody bool) *worker {
	for _, function := range functions {
		for _, w := range shuffled(rng, c.workers) {
			if w.serves(function) {
				return w
			}
		}
	}
	for _, w := range shuffled(rng, c.workers) {
		if anybody && w.up() {
			return w
		}
	}
	return nil
}

func shuffled[T any](rng *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
