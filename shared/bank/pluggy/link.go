package pluggy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	tokenLifetime = 30 * time.Minute // of a connect token that does not say
	// remembered is how long after its token a visit may still bring an item: Pluggy repeats a webhook up to some hours later,
	// and a person may be at the bank when the token ends.
	remembered = 6 * time.Hour
	maxHints   = 8
)

// visit is what a handle holds. Pluggy knows no sessions: what ties an item to one is the clientUserId, which is made for this
// visit, cannot be guessed, and comes back with the item and its webhooks. It says nothing about the person.
type visit struct {
	Reference string    `json:"reference"` // the clientUserId
	User      string    `json:"user"`      // ours, as given to Begin
	Expires   time.Time `json:"expires"`
	// Of a repair: the item, and when it was last read from the bank before the visit.
	Item   string    `json:"item,omitempty"`
	Before time.Time `json:"before,omitzero"`
}

// widget is what the page gives to Pluggy's script; see widget.js.
type widget struct {
	Token   string `json:"connectToken"`
	Update  string `json:"updateItem,omitempty"`
	Sandbox bool   `json:"includeSandbox,omitempty"`
}

// options are sealed in the connect token. There is no webhookUrl, because Pluggy calls such a one without our secret; and
// duplicates are not avoided by Pluggy, since two people may each connect the account that they share.
type options struct {
	User     string `json:"clientUserId"`
	Redirect string `json:"oauthRedirectUri,omitempty"`
}

// Begin makes a connect token. It creates items, and reads those that were created with it and no others.
func (p *Pluggy) Begin(ctx context.Context, b bank.Begin) (bank.Begun, error) {
	if !slices.Contains(countries, b.Country) {
		return bank.Begun{}, &bank.Error{Kind: bank.Permanent, Code: unsupportedCountry}
	}
	v := visit{Reference: strings.ToLower(rand.Text()), User: b.User}
	if !b.Token.Empty() {
		i, err := p.item(ctx, b.Token.Reveal())
		if err != nil {
			return bank.Begun{}, err
		}
		v.Item, v.Before = string(i.ID), i.LastUpdated.Time
	}
	token, err := p.connectToken(ctx, v, b.Return)
	if err != nil {
		return bank.Begun{}, err
	}
	life := tokenLifetime
	if c := claimsOf(token); c.Issued > 0 && c.Expires > c.Issued {
		life = min(time.Duration(c.Expires-c.Issued)*time.Second, tokenLifetime)
	}
	v.Expires = p.now().Add(life)
	handle, err := json.Marshal(v)
	if err != nil {
		return bank.Begun{}, err
	}
	shown, err := json.Marshal(widget{token, v.Item, p.environment == Sandbox})
	if err != nil {
		return bank.Begun{}, err
	}
	return bank.Begun{
		Handle: secret.New(string(handle)), Ref: ref(v.Reference), Widget: secret.New(string(shown)),
		Expires: v.Expires, Forgets: v.Expires.Add(remembered),
	}, nil
}

func (p *Pluggy) connectToken(ctx context.Context, v visit, back string) (string, error) {
	const name = "POST /connect_token"
	o := options{User: v.Reference}
	if at, err := url.Parse(back); err == nil && at.Scheme == "https" {
		o.Redirect = back
	}
	var got struct {
		Token loose `json:"accessToken"`
	}
	err := p.do(ctx, call{name: name, method: http.MethodPost, path: "/connect_token", in: struct {
		Item    string  `json:"itemId,omitempty"`
		Options options `json:"options"`
	}{v.Item, o}}, &got)
	if err != nil {
		return "", err
	}
	if got.Token == "" {
		return "", broken(name, badAnswer, errors.New("no token"))
	}
	return string(got.Token), nil
}

// Outcome asks what became of a visit. Pluggy tells of an item only to those who know its id, which the browser and the webhooks
// name; whose it is, Pluggy says itself. Where Pluggy lists items by their clientUserId, which it does on request, a visit of
// which nobody has told anything is found too.
func (p *Pluggy) Outcome(ctx context.Context, asked bank.Visit) (bank.Outcome, error) {
	v, ok := visitOf(asked)
	switch {
	case !ok:
		return bank.Outcome{State: bank.Unknown}, nil
	case v.Item != "":
		return p.repaired(ctx, v)
	}
	made, err := p.made(ctx, v, asked)
	if err != nil {
		return bank.Outcome{}, err
	}
	out := bank.Outcome{State: bank.Finished}
	var vain []bank.Candidate
	var cause bank.Cause
	pending := false
	for _, i := range made {
		switch p.judge(i) {
		case good:
			c, err := p.candidate(ctx, i)
			if err != nil {
				return bank.Outcome{}, err
			}
			out.Candidates = append(out.Candidates, c)
		case bad:
			vain, cause = append(vain, candidateOf(i)), p.cause(i)
		case open:
			pending = true
			vain = append(vain, candidateOf(i))
		}
	}
	now := p.now()
	switch {
	case len(out.Candidates) > 0:
		return out, nil
	case now.Before(v.Expires), now.Before(v.Expires.Add(remembered)) && (pending || len(made) == 0):
		return bank.Outcome{State: bank.Visiting, Cause: cause}, nil
	case len(made) == 0:
		cause = bank.TooLate
	}
	return bank.Outcome{State: bank.Left, Candidates: vain, Cause: cause}, nil
}

// cause says what keeps an item from working.
func (p *Pluggy) cause(i *item) bank.Cause {
	switch {
	case !p.allowed(i.Connector.Value), i.Execution == "USER_NOT_SUPPORTED":
		return bank.Unreadable
	case i.Execution == "USER_INPUT_TIMEOUT":
		return bank.TooLate
	case i.needsUser(p.now()) != "":
		return bank.BadCredentials
	case i.Execution == "SITE_NOT_AVAILABLE", i.Execution == "CONNECTION_ERROR":
		return bank.BankDown
	}
	return ""
}

// visitOf reads the handle. Without one, which is destroyed when a session ends, what was made is recognised by its Ref, and the
// visit is over.
func visitOf(asked bank.Visit) (v visit, ok bool) {
	if asked.Handle.Empty() {
		return visit{}, asked.Ref != ""
	}
	if json.Unmarshal([]byte(asked.Handle.Reveal()), &v) != nil || v.Reference == "" || v.User != asked.User {
		return v, false
	}
	return v, true
}

// made are the items of a visit: those of the hints that Pluggy says were made with its token, and what Pluggy lists.
func (p *Pluggy) made(ctx context.Context, v visit, asked bank.Visit) (made []*item, err error) {
	want := asked.Ref
	if v.Reference != "" {
		want = ref(v.Reference)
	}
	keep := func(i *item) {
		ours := secret.New(want).Equal(ref(string(i.User))) && i.User != ""
		if ours && !slices.ContainsFunc(made, func(o *item) bool { return o.ID == i.ID }) {
			made = append(made, i)
		}
	}
	hints := strings.FieldsFunc(asked.Hint, func(r rune) bool { return r == ',' || r == ' ' })
	for _, hint := range hints[:min(len(hints), maxHints)] {
		if !ids.MatchString(hint) {
			continue
		}
		i, err := p.item(ctx, strings.ToLower(hint))
		switch {
		case errors.Is(err, bank.ErrGone):
		case err != nil:
			return nil, err
		default:
			keep(i)
		}
	}
	if len(made) == 0 && v.Reference != "" {
		listed, err := p.listed(ctx, v.Reference)
		if err != nil {
			return nil, err
		}
		for _, i := range listed {
			keep(i)
		}
	}
	return made, nil
}

// listed asks for the items of a visit; none where Pluggy does not list items for this client.
func (p *Pluggy) listed(ctx context.Context, reference string) ([]*item, error) {
	var got struct {
		Results *[]*item `json:"results"`
	}
	c := call{name: "GET /v2/items", method: http.MethodGet, path: "/v2/items", query: url.Values{"clientUserId": {reference}}}
	answer, err := p.authorised(ctx, c)
	if err != nil {
		return nil, err
	}
	if answer.status == http.StatusForbidden || answer.status == http.StatusNotFound {
		return nil, nil
	}
	if err := answer.decode(&got); err != nil {
		return nil, err
	}
	if got.Results == nil {
		return nil, broken(c.name, badAnswer, errors.New("it has no results"))
	}
	return slices.DeleteFunc(*got.Results, func(i *item) bool { return i == nil || !ids.MatchString(string(i.ID)) }), nil
}

// verdict is what an item of a visit is.
type verdict int

const (
	bad  verdict = iota // it never worked, or is of a bank that may not be connected here
	open                // the person or Pluggy is still at it
	good
)

// judge says what is to become of an item. One whose first synchronisation has not ended is waited for: its accounts, by which a
// bank that is connected twice is noticed, are not there yet.
func (p *Pluggy) judge(i *item) verdict {
	switch {
	case !p.allowed(i.Connector.Value):
		return bad
	case i.working(), slices.Contains(waiting, string(i.Status)), slices.Contains(passing, string(i.Execution)):
		return open
	case i.Status == "UPDATED", !i.LastUpdated.IsZero():
		return good
	}
	return bad
}

func candidateOf(i *item) bank.Candidate {
	return bank.Candidate{Key: bank.Hash(Name, "candidate", string(i.ID)), Public: secret.New(string(i.ID)), Institution: i.Connector.Value.institution()}
}

func (p *Pluggy) candidate(ctx context.Context, i *item) (c bank.Candidate, err error) {
	c = candidateOf(i)
	c.Accounts, err = p.accounts(ctx, i)
	return c, err
}

// repaired tells the outcome of a visit to an item that lives: it has ended well once the bank was read again.
func (p *Pluggy) repaired(ctx context.Context, v visit) (bank.Outcome, error) {
	i, err := p.item(ctx, v.Item)
	if err != nil {
		return bank.Outcome{}, err
	}
	now := p.now()
	switch {
	case i.needsUser(now) == "" && !i.working() && i.LastUpdated.After(v.Before):
		return bank.Outcome{State: bank.Finished}, nil
	case now.Before(v.Expires), i.working() && now.Before(v.Expires.Add(remembered)):
		return bank.Outcome{State: bank.Visiting}, nil
	}
	return bank.Outcome{State: bank.Left}, nil
}

// Exchange looks whether the item is still there. It was made when the person signed in, and its id is its token, so that an
// exchange may be repeated.
func (p *Pluggy) Exchange(ctx context.Context, c bank.Candidate) (bank.Grant, error) {
	i, err := p.item(ctx, c.Public.Reveal())
	if err != nil {
		return bank.Grant{}, err
	}
	return bank.Grant{Item: string(i.ID), Token: secret.New(string(i.ID))}, nil
}

// Discard deletes an item that is not going to be kept: it would be synchronised, and counted against the plan, for nobody.
func (p *Pluggy) Discard(ctx context.Context, c bank.Candidate) error { return p.Remove(ctx, c.Public) }
