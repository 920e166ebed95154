package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/bkper/automations-portal/scripts/internal/world"
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/bank/plaid"
	"github.com/bkper/automations-portal/shared/posting"
	"github.com/bkper/automations-portal/shared/secret"
	"github.com/bkper/automations-portal/shared/sqlitefile"
	"github.com/bkper/automations-portal/shared/store"
	storesqlite "github.com/bkper/automations-portal/shared/store/sqlite"
	"github.com/bkper/automations-portal/shared/vault"
	vaultsqlite "github.com/bkper/automations-portal/shared/vault/sqlite"
)

// plant is a system that runs: scripts/dev after its demo, and the file that it keeps.
type plant struct {
	t     *testing.T
	url   string
	file  string
	env   map[string]string
	store *storesqlite.Store
	vault *vaultsqlite.Vault
	conn  *bank.Connection
}

// grow builds scripts/dev, lets it do the main job once, and serves what came of it.
func grow(t *testing.T) *plant {
	t.Helper()
	program := filepath.Join(t.TempDir(), "dev")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./scripts/cmd/dev")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	data := t.TempDir()
	demo := exec.CommandContext(t.Context(), program, "-demo", "-port", "0", "-data", data)
	demo.Env = []string{"HOME=" + os.Getenv("HOME")}
	if out, err := demo.CombinedOutput(); err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	p := &plant{t: t, file: filepath.Join(data, "portal.db"), url: serve(t, program, data)}
	p.env = (&world.World{URL: p.url}).Env(nil)
	delete(p.env, "PUSH_SERVICE_ACCOUNT")
	p.env["DATA_FILE"] = p.file
	var err error
	p.store, err = storesqlite.Open(p.file)
	p.must(err)
	p.vault, err = vaultsqlite.Open(t.Context(), p.file, secret.String{})
	p.must(err)
	t.Cleanup(func() { p.store.Close(); p.vault.Close() })
	all, err := store.Connections.Find(t.Context(), p.store, store.Query{})
	p.must(err)
	if len(all) != 1 {
		t.Fatalf("%d connections after the demo", len(all))
	}
	p.conn = all[0]
	return p
}

var served = regexp.MustCompile(`on (http://\S+)`)

func serve(t *testing.T, program, data string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-port", "0", "-data", data)
	cmd.Env = []string{"HOME=" + os.Getenv("HOME")}
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
	if at := served.FindStringSubmatch(line); err == nil && at != nil {
		return at[1]
	}
	t.Fatalf("no URL in %q, %v", line, err)
	return ""
}

func (p *plant) must(err error) {
	if err != nil {
		p.t.Helper()
		p.t.Fatal(err)
	}
}

// operate runs the command, and fails where its output holds any secret of the vault or the configuration.
func (p *plant) operate(want int, stdin string, args ...string) string {
	p.t.Helper()
	out := operate(p.t, p.env, want, stdin, args...)
	for after := ""; ; {
		names, err := p.vault.List(p.t.Context(), "", after)
		p.must(err)
		if len(names) == 0 {
			return out
		}
		for _, name := range names {
			if s, err := p.vault.Get(p.t.Context(), name); err == nil && strings.Contains(out, s.Reveal()) {
				p.t.Errorf("%q shows the secret %s", args, name)
			}
		}
		after = names[len(names)-1]
	}
}

func operate(t *testing.T, env map[string]string, want int, stdin string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), args, envconfig.MapLookuper(env), strings.NewReader(stdin), &out, &out); code != want {
		t.Errorf("%q: exit code %d, want %d\n%s", args, code, want, out.String())
	}
	if env["PLAID_SECRET"] != "" && strings.Contains(out.String(), env["PLAID_SECRET"]) {
		t.Errorf("%q shows a secret", args)
	}
	return out.String()
}

func says(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in\n%s", text, out)
		}
	}
}

func TestOperatorsSeeAndMendASystemThatRuns(t *testing.T) {
	p := grow(t)
	for name, test := range map[string]func(*testing.T){
		"show": p.shows, "sync": p.syncs, "dead": p.replays, "webhooks": p.repoints, "rotate": p.rotates, "orphans": p.retires, "explain": p.explains,
	} {
		t.Run(name, func(t *testing.T) { p.t = t; test(t) })
	}
}

func (p *plant) shows(t *testing.T) {
	for _, name := range []string{p.conn.ID, p.conn.Provider + "/" + p.conn.Item} {
		says(t, p.operate(0, "", "show", name), p.conn.ID, "First Platypus Bank", "client@example.com", "in the vault", "free, after",
			"cursor", "set", "Plaid Checking", "live: Every transaction is recorded as it happens.", "to connect, kept")
	}
	says(t, p.operate(1, "", "show", "nobody"), "there is no connection nobody")
	says(t, p.operate(1, "", "show", "plaid/nobody"), "there is no connection with the item plaid/nobody")
}

func (p *plant) syncs(t *testing.T) {
	before, err := posting.Engines.Get(t.Context(), p.store, p.conn.ID)
	p.must(err)
	says(t, p.operate(0, "", "sync", p.conn.ID, "-deep"), "Rang for "+p.conn.ID)
	for range 200 {
		now, err := posting.Engines.Get(t.Context(), p.store, p.conn.ID)
		p.must(err)
		if now.Synced.After(before.Synced) && now.Looked.After(before.Looked) {
			return
		}
		time.Sleep(50 * time.Millisecond) // it is another process that reads
	}
	t.Error("nobody has read the bank")
}

func (p *plant) replays(t *testing.T) {
	says(t, p.operate(0, "", "dead", "list"), "There are no dead letters.")
	db, err := sqlitefile.Open(p.file)
	p.must(err)
	defer db.Close()
	for _, id := range []int{901, 902, 903} {
		_, err = db.ExecContext(t.Context(), `INSERT INTO events_dead (id, topic, data, published, attempts) VALUES (?, 'rings', '{"connection":"gone"}', 1, 10)`, id)
		p.must(err)
	}
	says(t, p.operate(0, "", "dead", "list"), "901", "902", "10 times", "gone")
	says(t, p.operate(1, "", "dead", "replay", "901", "77"), "Published 901 again.", "1 of 2", "no such dead letter")
	says(t, p.operate(0, "", "dead", "replay", "-all"), "2 of 2 published again.")
	says(t, p.operate(0, "", "dead", "list"), "There are no dead letters.")
	p.operate(2, "", "dead", "replay")
	p.operate(2, "", "dead", "replay", "-all", "901")
}

func (p *plant) repoints(t *testing.T) {
	const at = "https://banks.example.com/webhook"
	says(t, p.operate(0, "", "webhooks", "repoint", at), "1 connections would be pointed to", "Nothing was changed")
	says(t, p.operate(0, "", "webhooks", "repoint", "-do", at+"/"), "1 connections point to "+at+"/PROVIDER, 0 could not be changed.")
	says(t, p.operate(2, "", "webhooks", "repoint", "http://banks.example.com"), "https")
	says(t, p.operate(2, "", "webhooks", "repoint", at, "-provider", "nobody"), "the providers are plaid")
	token, err := p.vault.Get(t.Context(), vault.ConnectionToken(p.conn.ID))
	p.must(err)
	p.must(p.vault.Put(t.Context(), vault.ConnectionToken(p.conn.ID), secret.New("access-sandbox-of-nobody")))
	says(t, p.operate(1, "", "webhooks", "repoint", "-do", at), "0 connections point to", "1 could not be changed", "INVALID_ACCESS_TOKEN")
	p.must(p.vault.Put(t.Context(), vault.ConnectionToken(p.conn.ID), token))
}

func (p *plant) rotates(t *testing.T) {
	says(t, p.operate(0, p.env["PLAID_SECRET"]+"\n", "rotate", "plaid", "PLAID_SECRET"), "plaid takes the new secret", "gcloud secrets versions add PLAID_SECRET", "deploy again")
	out := p.operate(1, "wrong-secret", "rotate", "plaid", "PLAID_SECRET")
	says(t, out, "plaid does not take the new secret")
	if strings.Contains(out, "wrong-secret") {
		t.Error("the secret is shown")
	}
	says(t, p.operate(2, "", "rotate", "plaid", "PLAID_SECRET"), "the standard input is empty")
	says(t, p.operate(2, "x", "rotate", "plaid", "PLAID_CLIENT_ID"), "no secret of the configuration")
	says(t, p.operate(2, "x", "rotate", "nobody", "PLAID_SECRET"), "the providers are plaid")
}

// item makes one at the sandbox's bank, of which only the vault knows.
func (p *plant) item(connection string) (item string) {
	p.t.Helper()
	adapter, err := plaid.New(plaid.Config{Environment: plaid.Sandbox, BaseURL: p.env["PLAID_URL"], ClientID: p.env["PLAID_CLIENT_ID"], Secret: secret.New(p.env["PLAID_SECRET"]), ClientName: "Test"})
	p.must(err)
	var made struct {
		Public string `json:"public_token"`
	}
	p.post("/sandbox/public_token/create", `{"institution_id":"ins_109508","initial_products":["transactions"]}`, &made)
	grant, err := adapter.Exchange(p.t.Context(), bank.Candidate{Public: secret.New(made.Public)})
	p.must(err)
	p.must(p.vault.Put(p.t.Context(), vault.ConnectionToken(connection), grant.Token))
	return grant.Item
}

func (p *plant) post(path, body string, into any) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.env["PLAID_URL"]+path, strings.NewReader(body))
	p.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("PLAID-CLIENT-ID", p.env["PLAID_CLIENT_ID"])
	r.Header.Set("PLAID-SECRET", p.env["PLAID_SECRET"])
	answer, err := http.DefaultClient.Do(r)
	p.must(err)
	defer answer.Body.Close()
	p.must(json.NewDecoder(answer.Body).Decode(into))
}

// items are those that stand at the bank.
func (p *plant) items() (ids []string) {
	p.t.Helper()
	answer, err := http.Get(p.env["PLAID_URL"] + "/_sim/items")
	p.must(err)
	defer answer.Body.Close()
	var list struct {
		Items []struct {
			ID string `json:"item_id"`
		}
	}
	p.must(json.NewDecoder(answer.Body).Decode(&list))
	for _, i := range list.Items {
		ids = append(ids, i.ID)
	}
	return ids
}

func (p *plant) retires(t *testing.T) {
	says(t, p.operate(0, "", "orphans", "list"), "There are no orphans.")
	now := time.Now()
	p.must(p.store.Update(t.Context(), func(tx store.Tx) error {
		for _, s := range []bank.Session{
			{ID: "lost1", State: bank.Lost, Provider: "plaid", Email: "client@example.com", At: "ins_1", Ended: now},
			{ID: "ended", State: bank.Cancelled, Provider: "plaid", Ended: now},
			{ID: "open1", State: bank.Open, Provider: "plaid"},
			{ID: "gave", State: bank.Cancelled, Provider: "plaid", Connection: "told", Ended: now},
			{ID: "keeps", State: bank.Exchanging, Provider: "plaid", Connection: "kept"},
		} {
			if err := store.Sessions.Put(tx, &s); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, id := range []string{"ended", "open1", "never"} {
		p.must(p.vault.Put(t.Context(), vault.SessionHandle(id), secret.New("link-sandbox-handle-"+id)))
	}
	told, kept, untold := p.item("told"), p.item("kept"), p.item("untold")

	out := p.operate(0, "", "orphans", "list")
	says(t, out, "handle", "never", "its session has ended: cancelled", "told", "its connection does not exist", "lost1", "provider's support")
	for _, id := range []string{"open1", "keeps", "kept", p.conn.ID} {
		if regexp.MustCompile(`(?m)^(handle|token|lost) +` + id + ` `).MatchString(out) {
			t.Errorf("%s is no orphan\n%s", id, out)
		}
	}
	says(t, p.operate(0, "", "orphans", "retire"), "5 orphans", "Nothing was changed")
	if names := p.names(); !slices.Contains(names, vault.SessionHandle("never")) || !slices.Contains(p.items(), told) {
		t.Fatalf("a dry run has destroyed something: %v", names)
	}
	says(t, p.operate(1, "", "orphans", "retire", "-do", "-wait", "1ms"), "handle never is retired", "token told is retired",
		"token untold stays: nothing tells its provider", "lost lost1 stays", "3 retired, 2 left.")
	says(t, p.operate(1, "", "orphans", "retire", "-do", "-wait", "1ms", "-provider", "plaid"), "token untold is retired", "1 retired, 1 left.")
	says(t, p.operate(1, "", "orphans", "retire", "-lost", "open1", "-do"), "is open, not lost")
	says(t, p.operate(1, "", "orphans", "retire", "-lost", "nobody", "-do"), "there is no session nobody")
	says(t, p.operate(0, "", "orphans", "retire", "-lost", "lost1"), "would be forgotten")
	says(t, p.operate(0, "", "orphans", "retire", "-lost", "lost1", "-do"), "is forgotten")
	says(t, p.operate(0, "", "orphans", "list"), "There are no orphans.")
	left, items := p.names(), p.items()
	for _, name := range []string{vault.SessionHandle("open1"), vault.ConnectionToken("kept"), vault.ConnectionToken(p.conn.ID)} {
		if !slices.Contains(left, name) {
			t.Errorf("%s is gone", name)
		}
	}
	for item, stands := range map[string]bool{told: false, untold: false, kept: true, p.conn.Item: true} {
		if slices.Contains(items, item) != stands {
			t.Errorf("the item %s stands %v, want %v", item, !stands, stands)
		}
	}
}

func (p *plant) names() []string {
	names, err := p.vault.List(p.t.Context(), "", "")
	p.must(err)
	return names
}

func (p *plant) explains(t *testing.T) {
	segments, err := posting.Segments.Find(t.Context(), p.store, store.Query{})
	p.must(err)
	i := slices.IndexFunc(segments, func(s *posting.Segment) bool { return len(s.Rows) > 0 && s.Rows[0].State == posting.Standing })
	if i < 0 {
		t.Fatal("the demo has recorded nothing")
	}
	book, row := segments[i].Book, segments[i].Rows[0]
	for _, id := range []string{row.IDs[0], row.Key, row.Record} {
		says(t, p.operate(0, "", "explain", book, id), row.Key, "standing", "It stands in the Book as "+row.Record, "The Book says: "+row.Record+" stands (draft true)")
	}
	away := *row
	away.Key, away.IDs, away.Record, away.State, away.Reason = "plaid_aside", []string{"aside"}, "", posting.Aside, posting.ReasonLocked
	hand := *row
	hand.Key, hand.IDs, hand.State = "plaid_hand", []string{"first", "hand"}, posting.Hand
	p.must(p.store.Update(t.Context(), func(tx store.Tx) error {
		return posting.Segments.Put(tx, &posting.Segment{ID: "zz", Connection: "x", Book: book, Seq: 9_999, Rows: []*posting.Row{&away, &hand}, At: time.Now()})
	}))
	says(t, p.operate(0, "", "explain", book, "aside"), "aside (locked)", "locked period of the Book", "no record with the remote id plaid_aside")
	says(t, p.operate(0, "", "explain", book, "first"), "where a person has put it")
	out := p.operate(0, "", "explain", book, "unknown", "-date", "1985-01-01")
	says(t, out, "does not know unknown", "live: Every transaction is recorded as it happens.", "which keeps one of 1985-01-01 AWAY", "The Book is not locked", "scripts/ops sync "+p.conn.ID)
	says(t, p.operate(0, "", "explain", book, "unknown", "-date", "2026-01-01"), "which lets one of 2026-01-01 pass")

	without := maps.Clone(p.env)
	delete(without, "GOOGLE_CLIENT_SECRET")
	says(t, operate(t, without, 0, "", "explain", book, row.Key), "The Book was not asked: GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET are not set")
	says(t, p.operate(1, "", "explain", "nobook", "x"), "no bank account was ever linked")
	p.operate(2, "", "explain", book)
	p.operate(2, "", "explain", book, strings.Repeat("x", 151))
	p.operate(2, "", "explain", book, "x", "-date", "yesterday")
}

func TestWhatIsNoCommandIsSaidToBeNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "portal.db")
	s, err := storesqlite.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	env := map[string]string{"DATA_FILE": file}
	for _, args := range [][]string{{"-help"}, {"--help"}, {"help"}, {"show", "-help"}, {"orphans", "retire", "--help"}} {
		if out := operate(t, nil, 0, "", args...); !strings.Contains(out, "scripts/ops") {
			t.Errorf("%q says %q", args, out)
		}
	}
	for _, args := range [][]string{{}, {"nonsense"}, {"dead"}, {"orphans"}, {"show"}, {"show", "a", "b"}, {"sync", "-nonsense", "a"}, {"orphans", "list", "x"}} {
		operate(t, env, 2, "", args...)
	}
}

func TestAnEnvironmentThatIsNoneIsSaidToBeNone(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "portal.db")
	says(t, operate(t, nil, 1, "", "show", "x"), "DATA_FILE is needed")
	says(t, operate(t, map[string]string{"DATA_FILE": missing}, 1, "", "orphans", "list"), "no such file")
	if _, err := os.Stat(missing); err == nil {
		t.Error("a file was made")
	}
	says(t, operate(t, map[string]string{"DATA_FILE": missing, "STORE": "paper"}, 1, "", "show", "x"), "STORE must be one of")
}

func TestEveryCommandIsListedInTheHelp(t *testing.T) {
	for _, c := range commands() {
		if !strings.Contains(usage, "scripts/ops "+c.name) || c.says == "" {
			t.Errorf("%s is not explained", c.name)
		}
	}
}
