// Package bkper keeps Books at Bkper, over its REST API v5.
package bkper

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/civil"

	"github.com/bkper/automations-portal/shared/ledger"
	"github.com/bkper/automations-portal/shared/secret"
)

// BaseURL is Bkper's public address, which brings its own API key.
const BaseURL = "https://api.bkper.app"

const (
	callTimeout = 30 * time.Second
	pageSize    = 1000 // the most that Bkper gives
)

// Config sets a Client up.
type Config struct {
	BaseURL string        // default BaseURL; a path in it is kept
	APIKey  secret.String // of Google Cloud, for a quota of one's own; may be empty
	Agent   string        // id of the app that records are attributed to; may be empty
	HTTP    *http.Client  // default http.DefaultClient; its redirect policy and time-out are not used
}

// Client is a ledger.Ledger. Each call takes thirty seconds at most and is never repeated here: whether a failed write
// took place is for the caller to find out. What the service answers is translated as follows, and its words are kept
// out of errors:
//
//	403            ledger.ErrLogin, UserMustAct: Bkper's "Login Required."; a fresh access token is to be tried first
//	401            ledger.ErrNoAccess, UserMustAct: Bkper's "not a collaborator"
//	404            ledger.ErrNotFound, Permanent; from Write only when it is the Book that is not there
//	other 4xx      ledger.ErrRefused, Permanent
//	408, 429, 5xx, no answer, no JSON    Retry, or RetryAfter where the service says how long
type Client struct {
	base   *url.URL
	key    secret.String
	agent  string
	client *http.Client
}

var _ ledger.Ledger = (*Client)(nil)

// New returns a Client; an error says that the address cannot be used.
func New(c Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cmp.Or(c.BaseURL, BaseURL), "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" {
		return nil, fmt.Errorf("Bkper: %q is not the address of an API", c.BaseURL)
	}
	own := *cmp.Or(c.HTTP, http.DefaultClient)
	own.Timeout = 0
	// A redirect could carry the token to another host.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, key: c.APIKey, agent: c.Agent, client: &own}, nil
}

// Books implements ledger.Ledger.
func (c *Client) Books(ctx context.Context, token secret.String) ([]ledger.Book, error) {
	var list struct {
		Items []book `json:"items"`
	}
	if err := c.do(ctx, token, call{method: http.MethodGet, path: "/v5/books", into: &list}); err != nil {
		return nil, err
	}
	all := make([]ledger.Book, 0, len(list.Items))
	for i := range list.Items {
		b, err := list.Items[i].read()
		if err != nil {
			return nil, unreadable(err)
		}
		b.Accounts = nil
		all = append(all, b)
	}
	return all, nil
}

// Book implements ledger.Ledger.
func (c *Client) Book(ctx context.Context, token secret.String, id string) (ledger.Book, error) {
	return c.book(ctx, token, id, url.Values{"loadAccounts": {"true"}})
}

func (c *Client) book(ctx context.Context, token secret.String, id string, query url.Values) (ledger.Book, error) {
	path, err := bookPath(id, "")
	if err != nil {
		return ledger.Book{}, err
	}
	var wire book
	if err := c.do(ctx, token, call{method: http.MethodGet, path: path, query: query, into: &wire}); err != nil {
		return ledger.Book{}, err
	}
	b, err := wire.read()
	if err != nil {
		return ledger.Book{}, unreadable(err)
	}
	return b, nil
}

// CreateAccount implements ledger.Ledger. A name that differs from another's only in case, accents, spaces or hyphens is
// taken: ErrRefused.
func (c *Client) CreateAccount(ctx context.Context, token secret.String, book string, a ledger.Account) (ledger.Account, error) {
	path, err := bookPath(book, "/accounts")
	if err != nil {
		return ledger.Account{}, err
	}
	var made account
	send := account{Name: a.Name, Type: string(a.Type)}
	if err := c.do(ctx, token, call{method: http.MethodPost, path: path, body: send, into: &made}); err != nil {
		return ledger.Account{}, err
	}
	if made.ID == "" {
		return ledger.Account{}, unreadable(fmt.Errorf("an Account without id"))
	}
	return made.read(), nil
}

// Find implements ledger.Ledger.
func (c *Client) Find(ctx context.Context, token secret.String, book string, q ledger.Query) (ledger.Found, error) {
	path, err := bookPath(book, "/transactions")
	if err != nil {
		return ledger.Found{}, err
	}
	text, err := queryText(q)
	if err != nil {
		return ledger.Found{}, err
	}
	var page list
	query := url.Values{"query": {text}, "limit": {strconv.Itoa(pageSize)}}
	if err := c.do(ctx, token, call{method: http.MethodGet, path: path, query: query, cursor: q.Cursor, into: &page}); err != nil {
		return ledger.Found{}, err
	}
	all, err := page.read()
	if err != nil {
		return ledger.Found{}, err
	}
	return ledger.Found{Transactions: all, Cursor: page.Cursor}, nil
}

// queryText writes Bkper's query language, in which after is inclusive and before exclusive.
func queryText(q ledger.Query) (string, error) {
	var terms []string
	for _, t := range []struct{ key, value string }{{"remoteId", q.RemoteID}, {"account", q.Account}} {
		if t.value == "" {
			continue
		}
		quoted, err := quote(t.value)
		if err != nil {
			return "", err
		}
		terms = append(terms, t.key+":"+quoted)
	}
	if !q.From.IsZero() {
		terms = append(terms, "after:"+q.From.String())
	}
	if !q.To.IsZero() {
		terms = append(terms, "before:"+q.To.AddDays(1).String())
	}
	if q.Trashed {
		terms = append(terms, "is:trashed")
	}
	return strings.Join(terms, " "), nil
}

// quote refuses a value that holds both quotation marks: the language knows no escapes, and a broken query would find
// other records than those that were asked for.
func quote(value string) (string, error) {
	for _, mark := range []string{"'", `"`} {
		if !strings.Contains(value, mark) {
			return mark + value + mark, nil
		}
	}
	return "", permanent("unquotable", ledger.ErrRefused)
}

var bookID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// bookPath keeps an id that no Book can have, which a caller may have made up, out of the path.
func bookPath(id, rest string) (string, error) {
	if !bookID.MatchString(id) {
		return "", permanent("malformed_book_id", ledger.ErrNotFound)
	}
	return "/v5/books/" + id + rest, nil
}

// lockedUntil is the later of the Book's two locks.
func lockedUntil(dates ...string) (civil.Date, error) {
	var last civil.Date
	for _, text := range dates {
		// What Bkper writes for a lock that was taken away.
		if text == "" || text == "1900-00-00" {
			continue
		}
		d, err := civil.ParseDate(text)
		if err != nil {
			return civil.Date{}, err
		}
		if d.After(last) {
			last = d
		}
	}
	return last, nil
}
