package sqlite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/events"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/sqlitefile"
)

// target answers pushes without a network.
type target func(d events.Delivery, r *http.Request) int

func (f target) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	d, err := events.Decode(body)
	if err != nil {
		return nil, err
	}
	status := f(d, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: http.NoBody}, nil
}

func configOf(answer target) Config {
	return Config{
		Targets:   map[events.Topic]string{events.Rings: "http://portal.test/poster"},
		Token:     func(context.Context, string) (secret.String, error) { return secret.New("signed"), nil },
		Transport: answer,
		Log:       slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, path string, c Config) *Queue {
	t.Helper()
	q, err := Open(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func publish(t *testing.T, q *Queue, connection string) {
	t.Helper()
	if err := q.Publish(t.Context(), events.Rings, events.Message{Connection: connection}); err != nil {
		t.Fatal(err)
	}
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "portal.db") }

// run runs q until the bubble's test calls stop.
func run(ctx context.Context, q *Queue) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func TestTheBackOffDoublesUpToItsMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []int
		c := configOf(func(events.Delivery, *http.Request) int {
			at = append(at, int(time.Since(begun).Seconds()))
			return http.StatusServiceUnavailable
		})
		c.MaxBackoff, c.MaxAttempts = time.Minute, 7
		q := open(t, newPath(t), c)
		publish(t, q, "c")
		stop := run(t.Context(), q)
		time.Sleep(time.Hour)
		stop()
		// 10, 20, 40 and then 60 seconds after the one before
		if diff := cmp.Diff([]int{0, 10, 30, 70, 130, 190, 250}, at); diff != "" {
			t.Error(diff)
		}
		q.Close()
	})
}

func TestAMessageIsPushedAtOnceWhenItIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waited time.Duration
		var published time.Time
		q := open(t, newPath(t), configOf(func(events.Delivery, *http.Request) int {
			waited = time.Since(published)
			return http.StatusOK
		}))
		stop := run(t.Context(), q)
		time.Sleep(10*time.Second + 300*time.Millisecond) // in the middle between two looks
		published = time.Now()
		publish(t, q, "c")
		synctest.Wait()
		stop()
		if waited != 0 {
			t.Errorf("waited %s", waited)
		}
		q.Close()
	})
}

func TestAMessageOfAnotherProcessIsFoundWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t)
		var got []string
		c := configOf(func(d events.Delivery, _ *http.Request) int {
			got = append(got, d.Connection)
			return http.StatusOK
		})
		q, other := open(t, path, c), open(t, path, c)
		stop := run(t.Context(), q)
		time.Sleep(10*time.Second + 300*time.Millisecond)
		publish(t, other, "of the other")
		time.Sleep(poll)
		stop()
		if diff := cmp.Diff([]string{"of the other"}, got); diff != "" {
			t.Error(diff)
		}
		q.Close()
		other.Close()
	})
}

func TestTwoProcessesOnOneFilePushAMessageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t)
		var mu sync.Mutex
		times := map[string]int{}
		c := configOf(func(d events.Delivery, _ *http.Request) int {
			mu.Lock()
			defer mu.Unlock()
			times[d.Connection]++
			return http.StatusOK
		})
		q, other := open(t, path, c), open(t, path, c)
		stop, stopOther := run(t.Context(), q), run(t.Context(), other)
		for i := range 50 {
			publish(t, q, fmt.Sprint(i))
		}
		time.Sleep(time.Hour)
		stop()
		stopOther()
		for connection, n := range times {
			if n != 1 {
				t.Errorf("message %s was pushed %d times", connection, n)
			}
		}
		if len(times) != 50 {
			t.Errorf("%d messages came", len(times))
		}
		q.Close()
		other.Close()
	})
}

// TestAMessageThatKillsItsReceiverEveryTimeBecomesADeadLetter: nobody lives to write the last refusal down.
func TestAMessageThatKillsItsReceiverEveryTimeBecomesADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t)
		var attempts []int
		begin := make(chan struct{}, 1)
		c := configOf(func(d events.Delivery, r *http.Request) int {
			attempts = append(attempts, d.Attempt)
			begin <- struct{}{}
			<-r.Context().Done()
			return 0
		})
		c.MaxAttempts = 3
		publish(t, open(t, path, c), "deadly")
		for range c.MaxAttempts {
			q := open(t, path, c)
			stop := run(t.Context(), q)
			<-begin
			q.Close() // as a killed process: nothing more is written
			stop()
			time.Sleep(time.Minute)
		}
		q := open(t, path, c)
		stop := run(t.Context(), q)
		time.Sleep(time.Minute)
		letters, err := q.DeadLetters(t.Context())
		stop()
		if err != nil || len(letters) != 1 || letters[0].Attempts != 3 {
			t.Errorf("dead letters: %+v, %v", letters, err)
		}
		if diff := cmp.Diff([]int{1, 2, 3}, attempts); diff != "" {
			t.Error(diff)
		}
		q.Close()
	})
}

func TestStoppingIsNotCountedAgainstAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t)
		var attempts []int
		c := configOf(func(d events.Delivery, r *http.Request) int {
			attempts = append(attempts, d.Attempt)
			if len(attempts) <= 20 {
				<-r.Context().Done()
			}
			return http.StatusOK
		})
		publish(t, open(t, path, c), "c")
		for range 21 {
			q := open(t, path, c)
			stop := run(t.Context(), q)
			synctest.Wait()
			stop()
			q.Close()
		}
		if len(attempts) != 21 || attempts[20] != 1 {
			t.Errorf("attempts: %v; want 21 first ones", attempts)
		}
	})
}

func TestAnErrorOfTheFileIsNotTheEndOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := 0
		q := open(t, newPath(t), configOf(func(events.Delivery, *http.Request) int {
			got++
			return http.StatusOK
		}))
		publish(t, q, "c")
		if _, err := q.db.Exec(`ALTER TABLE events_queue RENAME TO away`); err != nil {
			t.Fatal(err)
		}
		stop := run(t.Context(), q)
		time.Sleep(10 * time.Second)
		if _, err := q.db.Exec(`ALTER TABLE away RENAME TO events_queue`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		stop()
		if got != 1 {
			t.Errorf("%d pushes after the error was over", got)
		}
		q.Close()
	})
}

func TestReplayingTwiceAtOnceDeliversOnce(t *testing.T) {
	q := open(t, newPath(t), configOf(nil))
	publish(t, q, "c")
	if _, err := q.db.Exec(`INSERT INTO events_dead SELECT id, topic, data, published, 10, parent FROM events_queue; DELETE FROM events_queue`); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = q.Replay(t.Context(), "1") })
	}
	wg.Wait()
	replayed := 0
	for _, err := range errs {
		switch {
		case err == nil:
			replayed++
		case !errors.Is(err, ErrNoDeadLetter):
			t.Error(err)
		}
	}
	var queued int
	if err := q.db.QueryRow(`SELECT count(*) FROM events_queue`).Scan(&queued); err != nil || replayed != 1 || queued != 1 {
		t.Errorf("replayed %d times, %d queued, %v", replayed, queued, err)
	}
}

func TestAFileOfAnOlderVersionGoesOn(t *testing.T) {
	path := newPath(t)
	old, err := sqlitefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(schema + `INSERT INTO events_queue (topic, data, published, due) VALUES ('rings', '{"connection":"old"}', 1, 1);
		INSERT INTO events_dead (id, topic, data, published, attempts) VALUES (9, 'rings', '{"connection":"dead"}', 1, 5)`); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var got []string
		q := open(t, path, configOf(func(d events.Delivery, _ *http.Request) int {
			got = append(got, d.Connection)
			return http.StatusOK
		}))
		if err := q.Replay(t.Context(), "9"); err != nil {
			t.Error(err)
		}
		publish(t, q, "new")
		stop := run(t.Context(), q)
		time.Sleep(10 * time.Second)
		stop()
		slices.Sort(got)
		if want := []string{"dead", "new", "old"}; !slices.Equal(got, want) {
			t.Errorf("delivered %v, want %v", got, want)
		}
	})
}

const childFile = "EVENTS_CHILD_FILE"

// TestMain is also the process that TestWhatWasPublishedStandsAfterKill9 kills: it publishes without an end and prints
// each message when Publish has returned.
func TestMain(m *testing.M) {
	path := os.Getenv(childFile)
	if path == "" {
		os.Exit(m.Run())
	}
	q, err := Open(context.Background(), path, configOf(nil))
	for i := 0; err == nil; i++ {
		message := events.Message{Connection: fmt.Sprint(i)}
		if err = q.Publish(context.Background(), events.Rings, message); err == nil {
			fmt.Println(message.Connection)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestWhatWasPublishedStandsAfterKill9(t *testing.T) {
	path := newPath(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childFile+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	published := 0
	for lines := bufio.NewScanner(out); lines.Scan(); published++ {
		if published == 100 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	q := open(t, path, configOf(nil))
	rows, err := q.db.Query(`SELECT data FROM events_queue ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	stand := 0
	for ; rows.Next(); stand++ {
		var data []byte
		var m events.Message
		if err := errors.Join(rows.Scan(&data), json.Unmarshal(data, &m)); err != nil || m.Connection != fmt.Sprint(stand) {
			t.Fatalf("message %d is %s, %v", stand, data, err)
		}
	}
	if published < 100 || stand < published {
		t.Errorf("%d were published, %d stand", published, stand)
	}
}
