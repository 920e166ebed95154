package infra_test

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What a connection does in a month: it is looked at every five to six hours, as shared/posting has it, and two webhooks a
// day each bring three rows.
const (
	looks    = 30 * 24 * 10 / 55 // on schedule
	webhooks = 30 * 2
	rings    = looks + webhooks
	seconds  = 2.0 // that one ring takes, nearly all of it waiting for a bank or a Book
	people   = 1.0 / 3
	peak     = 3 // times the mean, at the busiest minute
	minutes  = 30 * 24 * 60
	perRun   = 1000 // of functions/sync
)

// Prices in US dollars, of us-central1 where they differ: https://cloud.google.com/{firestore,run,secret-manager,pubsub}/pricing.
const (
	perRead, perWrite   = 0.03 / 1e5, 0.09 / 1e5
	freeReads           = 50_000 * 30
	freeWrites          = 20_000 * 30
	perSecret           = 0.06
	perAccess           = 0.03 / 1e4
	perCPU, freeCPU     = 0.000024, 180_000
	perGiB, freeGiB     = 0.0000025, 360_000
	perRequest          = 0.40 / 1e6
	freeRequests        = 2_000_000
	perByte, freeBytes  = 40.0 / (1 << 40), 10 << 30
	schedule, fixedRead = 0.0, 6 * minutes // three jobs are free; sync asks six questions a run
)

// counted are the operations of one ring, as shared/posting counts them.
type counted struct{ quietReads, quietWrites, newReads, newWrites int }

// count runs the test that counts, and reads what it prints.
func count(t *testing.T) counted {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestWhatIsNewCostsTheSameWhateverTheHistoryIs$", "./shared/posting")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	of := func(what string) (reads, writes int) {
		m := regexp.MustCompile(what + ` after 20000 rows: (\d+) reads and (\d+) writes`).FindSubmatch(out)
		if m == nil {
			t.Fatalf("%q is not counted:\n%s", what, out)
		}
		reads, first := strconv.Atoi(string(m[1]))
		writes, second := strconv.Atoi(string(m[2]))
		if err := errors.Join(first, second); err != nil {
			t.Fatal(err)
		}
		return reads, writes
	}
	var c counted
	c.quietReads, c.quietWrites = of("nothing")
	c.newReads, c.newWrites = of("three new rows")
	return c
}

// reads and writes of one connection in a month: a look is found by sync first, and a webhook names the item, each of which
// costs a read more.
func (c counted) reads() int  { return looks*(c.quietReads+1) + webhooks*(c.newReads+1) }
func (c counted) writes() int { return looks*c.quietWrites + webhooks*c.newWrites }

func above(n, free float64) float64 { return max(0, n-free) }

// row is a line of the table for a number of connections.
func (c counted) row(n float64) string {
	reads, writes := n*float64(c.reads())+fixedRead, n*float64(c.writes())
	firestore := above(reads, freeReads)*perRead + above(writes, freeWrites)*perWrite
	secrets := n * (1 + people)
	vault := above(secrets, 6)*perSecret + n*rings*perAccess
	// An instance is paid for while it serves anything, and is half full on average.
	busy := n * rings * seconds
	cpu := busy
	if inFlight := busy / (minutes * 60); inFlight > 1 {
		cpu = max(1, inFlight/10) * minutes * 60
	}
	run := above(cpu, freeCPU)*perCPU + above(cpu/2, freeGiB)*perGiB + above(n*(rings+webhooks), freeRequests)*perRequest
	pubsub := above(n*rings*2048, freeBytes) * perByte
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |", thousands(n), millions(n*rings), millions(reads), millions(writes),
		dollars(firestore), dollars(vault), dollars(run+pubsub+schedule), dollars(firestore+vault+run+pubsub+schedule))
}

func thousands(n float64) string {
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func millions(n float64) string { return fmt.Sprintf("%.1f M", n/1e6) }

// dollars says two digits that count: the paper knows no more.
func dollars(d float64) string {
	if d < 1 {
		return "< $1"
	}
	unit := 1.0
	for d/unit >= 100 {
		unit *= 10
	}
	return "$" + thousands(float64(int(d/unit+0.5))*unit)
}

// limit is a quota, and the number of connections at whose busiest minute it is used up.
func limit(perMinute, perConnectionAndMonth float64) string {
	n := perMinute / peak * minutes / perConnectionAndMonth
	unit := 1000.0
	for n/unit >= 100 {
		unit *= 10
	}
	return thousands(float64(int(n/unit)) * unit)
}

func TestThePaperOnCostAndScaleIsWhatTheCountsSay(t *testing.T) {
	readme := string(read(t, "README.md"))
	c := count(t)
	want := []string{
		fmt.Sprintf("%d times a month by the schedule and %d times by webhooks", looks, webhooks),
		fmt.Sprintf("| nothing new | %d | %d |", c.quietReads, c.quietWrites),
		fmt.Sprintf("| three new rows | %d | %d |", c.newReads, c.newWrites),
		fmt.Sprintf("%s reads and %s writes a month", thousands(float64(c.reads())), thousands(float64(c.writes()))),
	}
	for _, n := range []float64{1_000, 100_000, 1_000_000} {
		want = append(want, c.row(n))
	}
	for what, breaks := range map[string]string{
		"Pluggy, 360 lists of transactions a minute and address": limit(360, rings),
		"Plaid, 2,500 calls of /transactions/sync a minute":      limit(2500, rings),
		// The schedule spreads its looks, so it has no busiest minute.
		"`sync`, 1,000 connections a run":                       limit(perRun*peak, looks),
		"Firestore, 500 writes a second to an index that grows": limit(500*60, rings*2),
		"Secret Manager, 90,000 accesses a minute":              limit(90_000, rings),
	} {
		want = append(want, "| "+what+" | "+breaks+" |")
	}
	for _, line := range want {
		if !strings.Contains(readme, line) {
			t.Errorf("README.md does not say:\n%s", line)
		}
	}
}
