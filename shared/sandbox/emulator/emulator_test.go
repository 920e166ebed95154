package emulator

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestAnEmulatorAnswersUntilItIsStopped(t *testing.T) {
	for _, p := range []Product{Firestore, PubSub} {
		t.Run(p.name, func(t *testing.T) {
			t.Setenv(p.Env, "")
			e, err := Start(t.Context(), p)
			if errors.Is(err, ErrNotInstalled) {
				t.Skipf("not run: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.Get("http://" + e.Host)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			e.Stop()
			if conn, err := net.Dial("tcp", e.Host); err == nil {
				conn.Close()
				t.Error("it still listens")
			}
		})
	}
}

func TestARunningEmulatorIsUsedAndLeftRunning(t *testing.T) {
	t.Setenv(Firestore.Env, "127.0.0.1:1")
	e, err := Start(t.Context(), Firestore)
	if err != nil || e.Host != "127.0.0.1:1" {
		t.Fatalf("got %+v, %v", e, err)
	}
	e.Stop()
}

func TestAMissingEmulatorIsSaid(t *testing.T) {
	t.Setenv(Firestore.Env, "")
	t.Setenv("PATH", t.TempDir())
	if _, err := Start(t.Context(), Firestore); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got %v", err)
	}
}

func TestAnEmulatorThatEndsAtOnceSaysWhy(t *testing.T) {
	t.Setenv(Firestore.Env, "")
	java, jar, err := find(t.Context(), Firestore)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	broken := Firestore
	broken.args = []string{"-no-such-option"}
	if _, err := start(t.Context(), broken, java, jar); err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("got %v", err)
	}
}

func TestAnEmulatorDiesWithTheProcessThatStartedIt(t *testing.T) {
	const victim = "EMULATOR_TEST_VICTIM"
	if os.Getenv(victim) != "" {
		startAndDie(t)
	}
	if _, err := os.Stat("/proc"); err != nil {
		t.Skip("not run: only Linux ends the children of a process that was killed")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"=1", Firestore.Env+"=")
	out, err := cmd.Output()
	if cmd.ProcessState.Exited() {
		if strings.Contains(string(out), ErrNotInstalled.Error()) {
			t.Skipf("not run: Google's Firestore emulator: %v", ErrNotInstalled)
		}
		t.Fatalf("the victim was not killed: %v\n%s", err, out)
	}
	host := strings.TrimSpace(string(out))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) { // polls another process
		conn, err := net.Dial("tcp", host)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Errorf("the emulator at %s outlived the process that started it", host)
}

// startAndDie starts an emulator, prints its host and kills its own process.
func startAndDie(t *testing.T) {
	e, err := Start(t.Context(), Firestore)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(e.Host + "\n")
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Kill(); err != nil {
		t.Fatal(err)
	}
	select {}
}
