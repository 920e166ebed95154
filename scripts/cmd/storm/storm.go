package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/functions/app"
	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/config"
	"github.com/bkper/automations-portal/shared/events/pubsub/puller"
	"github.com/bkper/automations-portal/shared/sandbox/bkper"
	"github.com/bkper/automations-portal/shared/sandbox/emulator"
	"github.com/bkper/automations-portal/shared/sandbox/google"
	"github.com/bkper/automations-portal/shared/sandbox/plaid"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/firestore"
	storesqlite "github.com/bkper/automations-portal/shared/store/sqlite"
	vaultsqlite "github.com/bkper/automations-portal/shared/vault/sqlite"
)

const (
	crewSize   = 2               // processes at a time; while one starts the other serves
	bankID     = "ins_storm"     // at which everybody banks
	schedule   = 3 * time.Second // between two calls of sync: Google's, once a minute, would only make the end later
	newcomers  = 2 * time.Second // between two people more, who give the killer something to hit
	calmAtMost = 900 * time.Millisecond
)

// storm is all that is not killed, and the crew that is.
type storm struct {
	options
	url   string
	parts string // what is used for what, for people
	data  string // folder of the functions' files and of the workers' log

	world *world.World
	books []string // one of each person
	env   map[string]string
	store store.Store
	vault *vaultsqlite.Vault
	crew  *crew
	rest  func() // ends the crew

	calm chan struct{} // closed when the killing is over

	mu        sync.Mutex
	customers []*customer
	exchanged map[string]string // items whose token was given out, with what was given for it
	met       map[string]int    // what people met, by code
	did       map[string]int    // what people and banks did

	stops []func()
	busy  sync.WaitGroup
}

func begin(ctx context.Context, o options) (s *storm, err error) {
	s = &storm{
		options: o, calm: make(chan struct{}),
		exchanged: map[string]string{}, met: map[string]int{}, did: map[string]int{},
	}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if s.data, err = os.MkdirTemp("", "storm-"); err != nil {
		return s, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		return s, err
	}
	s.stops = append(s.stops, func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return s, err
	}
	s.url = "http://localhost:" + port
	if err := s.outside(); err != nil {
		return s, err
	}
	if err := s.choose(ctx); err != nil {
		return s, err
	}
	if err := s.look(ctx); err != nil {
		return s, err
	}
	return s, s.serve(ctx, listener)
}

// end stops everything; the folder stays where it may be wanted.
func (s *storm) end() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
	s.busy.Wait()
}

// background runs do until the storm ends.
func (s *storm) background(ctx context.Context, do func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	s.busy.Go(func() { do(ctx) })
	s.stops = append(s.stops, cancel)
}

func email(person int) string { return fmt.Sprintf("person%d@example.com", person) }

// outside makes the bank, and people with a Book each.
func (s *storm) outside() error {
	var people []google.User
	for i := range max(2, s.connections/5) {
		people = append(people, google.User{Email: email(i), Name: fmt.Sprintf("Person %d", i)})
	}
	var err error
	s.world, err = world.New(world.Options{
		URL: s.url, People: people, Log: s.log, Retry: 500 * time.Millisecond,
		Bank: plaid.Config{InitialDelay: 300 * time.Millisecond, HistoricalDelay: 1500 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	for i, u := range people {
		if err := s.world.Bkper.AddUser(bkper.User{ID: google.Sub(u.Email), Email: u.Email, Name: u.Name}); err != nil {
			return err
		}
		b, err := s.world.Bkper.CreateBook(bkper.Caller{Email: u.Email}, bkper.Book{Name: fmt.Sprintf("Book %d", i)})
		if err != nil {
			return err
		}
		s.books = append(s.books, b.ID)
	}
	return s.world.Plaid.Do(func(b *plaid.Bank) error {
		_, err := b.AddInstitution(bankID, "Storm Bank", []string{"US"}, false)
		return err
	})
}

// choose decides on the parts and on the command of a worker.
func (s *storm) choose(ctx context.Context) error {
	s.env = s.world.Env(nil)
	maps.Copy(s.env, map[string]string{
		"DATA_FILE": filepath.Join(s.data, "portal.db"), "LOG_TEXT": "true", "STORE": "sqlite", "VAULT": "sqlite", "EVENTS": "sqlite",
	})
	program := s.program
	if s.options.parts != "embedded" {
		err := s.emulators(ctx)
		if err != nil && (s.options.parts == "emulators" || !errors.Is(err, emulator.ErrNotInstalled)) {
			return err
		}
		if err == nil {
			if program, err = s.build(ctx); err != nil {
				return err
			}
		}
	}
	if s.env["EVENTS"] == "sqlite" {
		s.env[workerURL] = s.url + "/token"
		s.parts = "the embedded parts"
	}
	log, err := os.Create(filepath.Join(s.data, "workers.log"))
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() { log.Close() })
	s.crew, err = enlist(crewSize, func(port int) *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Dir, cmd.Stderr, cmd.Stdout = s.data, log, log
		cmd.Env = []string{"PORT=" + strconv.Itoa(port), "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
		for _, name := range slices.Sorted(maps.Keys(s.env)) {
			cmd.Env = append(cmd.Env, name+"="+s.env[name])
		}
		return cmd
	})
	return err
}

// emulators starts them, and says so in this process's environment and in that of the workers.
func (s *storm) emulators(ctx context.Context) error {
	for _, p := range []emulator.Product{emulator.Firestore, emulator.PubSub} {
		e, err := emulator.Start(ctx, p)
		if err != nil {
			return err
		}
		s.stops = append(s.stops, e.Stop)
		s.env[p.Env] = e.Host
		if err := os.Setenv(p.Env, e.Host); err != nil {
			return err
		}
	}
	s.env["STORE"], s.env["EVENTS"] = "firestore", "pubsub"
	s.env["GOOGLE_CLOUD_PROJECT"] = "demo-storm-" + filepath.Base(s.data)[len("storm-"):]
	s.parts = "Google's emulators of Firestore and Pub/Sub"
	return nil
}

// build makes the binary that is deployed. The project is where this program was built, or where it is called.
func (s *storm) build(ctx context.Context) (program string, err error) {
	const main = "functions/main"
	for _, root := range []string{filepath.Dir(filepath.Dir(s.program)), "."} {
		if _, err := os.Stat(filepath.Join(root, main)); err != nil {
			continue
		}
		program = filepath.Join(s.data, "main")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./"+main)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", main, err, out)
		}
		return program, nil
	}
	return "", fmt.Errorf("%s is not found; call this from the project's folder", main)
}

// look opens what the functions keep, to see it when all is over.
func (s *storm) look(ctx context.Context) (err error) {
	if s.env["STORE"] == "firestore" {
		documents := firestore.New(firestore.Options{Project: s.env["GOOGLE_CLOUD_PROJECT"]})
		s.stops = append(s.stops, func() { documents.Close() })
		s.store = documents
	} else {
		documents, err := storesqlite.Open(s.env["DATA_FILE"])
		if err != nil {
			return err
		}
		s.stops = append(s.stops, func() { documents.Close() })
		s.store = documents
	}
	if s.vault, err = vaultsqlite.Open(ctx, s.env["DATA_FILE"], secret.String{}); err != nil {
		return err
	}
	s.stops = append(s.stops, func() { s.vault.Close() })
	return nil
}

// serve starts the outside, what calls the functions, and the workers.
func (s *storm) serve(ctx context.Context, listener net.Listener) error {
	sandbox := http.NewServeMux()
	s.world.Mount(sandbox, s.world.Whose)
	mux := http.NewServeMux()
	mux.Handle("/sandbox/", s.far(s.exchanges(sandbox)))
	mux.HandleFunc("/token", s.token)
	mux.Handle("/", s.crew)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	s.busy.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serve", "err", err)
		}
	})
	s.stops = append(s.stops, func() { server.Close() })
	s.background(ctx, func(ctx context.Context) {
		if err := s.world.Plaid.Run(ctx); err != nil {
			s.log.Error("sandbox bank", "err", err)
		}
	})
	if s.env["EVENTS"] == "pubsub" {
		if err := s.pull(ctx); err != nil {
			return err
		}
	}
	s.employ(ctx)
	s.stops = append(s.stops, func() { s.rest() })
	for !slices.ContainsFunc(s.crew.workers, (*worker).up) {
		select {
		case err := <-s.crew.fallen:
			return s.fell(err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	quiet := slog.New(slog.DiscardHandler) // that a worker is down is no news here
	s.background(ctx, func(ctx context.Context) { s.world.Schedule(ctx, s.url+"/sync", schedule, quiet) })
	return nil
}

// employ starts the crew.
func (s *storm) employ(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	s.busy.Go(func() {
		defer close(ended)
		s.crew.run(ctx)
	})
	s.rest = func() { cancel(); <-ended }
}

// pull stands in for push on Google's emulator, which pushes without a token.
func (s *storm) pull(ctx context.Context) error {
	cfg, err := config.Read(ctx, envconfig.MapLookuper(s.env))
	if err != nil {
		return err
	}
	p, err := puller.Open(ctx, puller.Config{
		Project: cfg.Project, Targets: app.New(cfg, s.log).Targets(), Token: s.world.Token,
		Deadline: 9 * time.Minute, MinBackoff: time.Second, MaxBackoff: 10 * time.Second, MaxAttempts: 100,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	s.background(ctx, p.Run)
	s.stops = append(s.stops, func() { p.Close() })
	return nil
}

// fell says why a worker ended that nobody killed.
func (s *storm) fell(err error) error {
	text, _ := os.ReadFile(filepath.Join(s.data, "workers.log")) // what can be read of it
	return fmt.Errorf("%w; its log is in %s and ends with:\n%s", err, s.data, text[max(0, len(text)-4000):])
}

// token gives workers of the embedded parts what the metadata server gives on Google Cloud.
func (s *storm) token(w http.ResponseWriter, r *http.Request) {
	token, err := s.world.Token(r.Context(), r.URL.Query().Get("audience"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, token.Reveal()) // who asked may be dead
}

// rage is the storm, its end and the comparison. ok: nothing was lost, doubled or orphaned.
func (s *storm) rage(ctx context.Context, stdout, stderr io.Writer) (ok bool, err error) {
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.background(ctx, func(ctx context.Context) {
		select {
		case err := <-s.crew.fallen:
			cancel(s.fell(err))
		case <-ctx.Done():
		}
	})
	people := s.populate(ctx)
	bar := progressbar.NewOptions(s.kills, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription("Killing"),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(time.Second), progressbar.OptionSetWidth(30))
	during, err := s.slay(ctx, bar)
	fmt.Fprintln(stderr)
	if err != nil {
		return false, context.Cause(ctx)
	}
	close(s.calm)
	if s.hurry {
		if err := s.skip(ctx); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(stdout, "%d kills in %s, in the middle of %s.\n", s.kills, since(begun), list(during))
	over := time.Now()
	found, err := s.settle(ctx, people, stderr)
	if err != nil {
		return false, errors.Join(err, context.Cause(ctx))
	}
	fmt.Fprintf(stdout, "Did: %s.\nPeople met: %s.\n", list(s.did), list(s.met))
	fmt.Fprintf(stdout, "All was quiet %s after the last kill; %s in all.\n", since(over), since(begun))
	found.print(stdout)
	if !found.fine() {
		fmt.Fprintf(stdout, "What the functions keep, and the workers' log, are in %s.\n", s.data)
		return false, nil
	}
	return true, os.RemoveAll(s.data)
}

func since(t time.Time) string { return time.Since(t).Round(time.Second).String() }

// list is counts in words, the most frequent first.
func list(counts map[string]int) string {
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, func(a, b string) int { return counts[b] - counts[a] })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, counts[n])
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// slay does the killing, and counts what the killed were serving.
func (s *storm) slay(ctx context.Context, bar *progressbar.ProgressBar) (during map[string]int, err error) {
	rng := s.chance("kills")
	during = map[string]int{}
	for range s.kills {
		if err := pause(ctx, rng, 50*time.Millisecond, calmAtMost); err != nil {
			return nil, err
		}
		serving, err := s.crew.strike(ctx, rng, during)
		if err != nil {
			return nil, err
		}
		if len(serving) == 0 {
			during["nothing"]++
		}
		for _, function := range serving {
			during[function]++
		}
		_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
	}
	return during, nil
}

// settle waits for the work to come to its end and compares. What is not as it should be is looked at again, since some of it
// may be under way; at last it is what it is.
func (s *storm) settle(ctx context.Context, people *sync.WaitGroup, stderr io.Writer) (found *findings, err error) {
	done := make(chan struct{})
	go func() { people.Wait(); close(done) }()
	limit := time.After(s.drain)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	told := time.Now()
	for last := false; ; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit:
			last = true
		case <-tick.C:
		}
		waits, err := s.waits(ctx, done)
		if err != nil {
			return nil, err
		}
		if waits == "" || last {
			if found, err = s.compare(ctx); err != nil {
				return nil, err
			}
			if found.unfinished = waits; found.fine() || last {
				return found, nil
			}
			waits = found.sum()
		}
		if time.Since(told) > 10*time.Second {
			fmt.Fprintf(stderr, "Waiting: %s.\n", waits)
			told = time.Now()
		}
	}
}

// chance is a source of its own for each who acts.
func (s *storm) chance(who string) *rand.Rand {
	var sum uint64
	for _, b := range []byte(who) {
		sum = sum*1099511628211 + uint64(b)
	}
	return rand.New(rand.NewPCG(s.seed, sum))
}

// pause waits for a time by chance.
func pause(ctx context.Context, rng *rand.Rand, least, most time.Duration) error {
	return world.Pause(ctx, least+time.Duration(rng.Int64N(int64(most-least))))
}

func (s *storm) count(where map[string]int, what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where[what] += n
}
