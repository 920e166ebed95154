package plaid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/plaid/plaid-go/v20/plaid"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

const (
	// daysRequested is all that Plaid gives. It cannot be raised later: Plaid freezes it when the item is made.
	daysRequested = 730
	// linkLifetime is how long the hosted page can be opened: long enough to find a password, short enough that a link
	// left in a browser's history opens nothing.
	linkLifetime = 30 * time.Minute
	// remembered is how long Plaid tells the outcome after a session ended.
	remembered = 6 * time.Hour
	// repairing marks the handle of a session that makes no item. Its public token must never be exchanged, and Plaid's
	// answer to /link/token/get does not say for what the link was made.
	repairing = "repair:"
)

// languages are those that Link speaks.
var languages = []string{
	"da", "nl", "en", "et", "fr", "de", "hi", "it", "lv", "lt", "no", "pl", "pt", "ro", "es", "sv", "vi",
}

// Begin makes a Hosted Link. Sharing more accounts is possible in US and CA alone; elsewhere it is refused with
// ACCOUNT_SELECTION_UNAVAILABLE, and the person must disconnect and connect again.
func (p *Plaid) Begin(ctx context.Context, b bank.Begin) (bank.Begun, error) {
	request, err := p.linkRequest(b)
	if err != nil {
		return bank.Begun{}, err
	}
	const call = "/link/token/create"
	link, answer, err := p.api.LinkTokenCreate(ctx).LinkTokenCreateRequest(request).Execute()
	if err != nil {
		return bank.Begun{}, failure(call, answer, err)
	}
	if link.LinkToken == "" || link.GetHostedLinkUrl() == "" {
		return bank.Begun{}, broken(call, badAnswer, errors.New("no hosted link"))
	}
	handle := link.LinkToken
	if !b.Token.Empty() {
		handle = repairing + handle
	}
	expires := link.Expiration
	if expires.IsZero() {
		expires = p.now().Add(linkLifetime)
	}
	return bank.Begun{
		Handle: secret.New(handle), Ref: ref(link.LinkToken), URL: link.GetHostedLinkUrl(),
		Expires: expires, Forgets: expires.Add(remembered),
	}, nil
}

func (p *Plaid) linkRequest(b bank.Begin) (sdk.LinkTokenCreateRequest, error) {
	if !slices.Contains(countries, b.Country) {
		return sdk.LinkTokenCreateRequest{}, &bank.Error{Kind: bank.Permanent, Code: unsupportedCountry}
	}
	// The SDK's constructors fill in defaults of their own, such as 90 days of history; literals send what stands here.
	request := sdk.LinkTokenCreateRequest{
		ClientName:   p.clientName,
		Language:     language(b.Language),
		CountryCodes: []sdk.CountryCode{sdk.CountryCode(b.Country)},
		User:         sdk.LinkTokenCreateRequestUser{ClientUserId: b.User},
		HostedLink: &sdk.LinkTokenCreateHostedLink{
			CompletionRedirectUri: sdk.PtrString(b.Return),
			UrlLifetimeSeconds:    sdk.PtrInt32(int32(linkLifetime.Seconds())),
		},
	}
	if b.Token.Empty() {
		request.Products = []sdk.Products{sdk.PRODUCTS_TRANSACTIONS}
		request.Transactions = &sdk.LinkTokenTransactions{DaysRequested: sdk.PtrInt32(daysRequested)}
		request.Webhook = sdk.PtrString(b.Webhook)
		request.AccountFilters = recordable()
		return request, nil
	}
	// An item that exists takes neither products nor their options; its webhook was set when it was made.
	if err := p.ours(b.Token); err != nil {
		return sdk.LinkTokenCreateRequest{}, err
	}
	request.AccessToken = *sdk.NewNullableString(sdk.PtrString(b.Token.Reveal()))
	if b.Accounts {
		if !slices.Contains(adding, b.Country) {
			return sdk.LinkTokenCreateRequest{}, &bank.Error{Kind: bank.Permanent, Code: "ACCOUNT_SELECTION_UNAVAILABLE", Err: bank.ErrUnsupported}
		}
		request.Update = &sdk.LinkTokenCreateRequestUpdate{AccountSelectionEnabled: sdk.PtrBool(true)}
	}
	return request, nil
}

// recordable hides the accounts whose transactions Plaid does not give, such as investments and most loans.
func recordable() *sdk.LinkTokenAccountFilters {
	return &sdk.LinkTokenAccountFilters{
		Depository: &sdk.DepositoryFilter{AccountSubtypes: []sdk.DepositoryAccountSubtype{"all"}},
		Credit:     &sdk.CreditFilter{AccountSubtypes: []sdk.CreditAccountSubtype{"all"}},
		Loan: &sdk.LoanFilter{AccountSubtypes: []sdk.LoanAccountSubtype{
			sdk.LOANACCOUNTSUBTYPE_STUDENT, sdk.LOANACCOUNTSUBTYPE_MORTGAGE,
		}},
	}
}

func language(tag string) string {
	base, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if slices.Contains(languages, base) {
		return base
	}
	return "en"
}

// ref is the digest by which webhooks about a link are matched with sessions.
func ref(linkToken string) string { return bank.Hash(Name, linkToken) }

// linkState is the part of /link/token/get that tells what became of a link. The SDK knows only the older half of it.
type linkState struct {
	Expiration time.Time     `json:"expiration"`
	Sessions   []linkSession `json:"link_sessions"`
}

type linkSession struct {
	FinishedAt *string `json:"finished_at"`
	OnSuccess  *struct {
		PublicToken string `json:"public_token"`
		Metadata    *struct {
			Institution *linkInstitution `json:"institution"`
			Accounts    []linkAccount    `json:"accounts"`
		} `json:"metadata"`
	} `json:"on_success"`
	OnExit  *linkExit `json:"on_exit"`
	Exit    *linkExit `json:"exit"`
	Results *struct {
		Added []struct {
			PublicToken string           `json:"public_token"`
			Institution *linkInstitution `json:"institution"`
			Accounts    []linkAccount    `json:"accounts"`
		} `json:"item_add_results"`
	} `json:"results"`
	Events []struct {
		Name string `json:"event_name"`
	} `json:"events"`
}

type linkExit struct {
	Error *struct {
		Code string `json:"error_code"`
	} `json:"error"`
}

type linkInstitution struct {
	ID   string `json:"institution_id"`
	Name string `json:"name"`
}

type linkAccount struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Mask    string `json:"mask"`
	Type    string `json:"type"`
	Subtype string `json:"subtype"`
}

// Outcome asks what became of a link. Several sessions may have been begun with one link, and each may have made an item.
func (p *Plaid) Outcome(ctx context.Context, v bank.Visit) (bank.Outcome, error) {
	const call = "/link/token/get"
	if v.Handle.Empty() {
		return bank.Outcome{State: bank.Unknown}, nil
	}
	link, repair := strings.CutPrefix(v.Handle.Reveal(), repairing)
	_, answer, err := p.api.LinkTokenGet(ctx).LinkTokenGetRequest(sdk.LinkTokenGetRequest{LinkToken: link}).Execute()
	if err != nil {
		err = failure(call, answer, err)
		if bank.CodeOf(err) == "INVALID_LINK_TOKEN" {
			return bank.Outcome{State: bank.Unknown}, nil
		}
		return bank.Outcome{}, err
	}
	var state linkState
	if err := json.NewDecoder(answer.Body).Decode(&state); err != nil {
		return bank.Outcome{}, refusal(call, answer.StatusCode, answer.Header, nil)
	}
	return state.outcome(repair, p.now()), nil
}

func (l linkState) outcome(repair bool, now time.Time) bank.Outcome {
	succeeded, going := false, false
	var made []bank.Candidate
	for _, s := range l.Sessions {
		succeeded = succeeded || s.succeeded()
		going = going || !s.ended()
		if !repair {
			made = s.candidates(made)
		}
	}
	switch {
	case succeeded && (repair || len(made) > 0):
		return bank.Outcome{State: bank.Finished, Candidates: made}
	case (going || succeeded) && !l.over(now.Add(-remembered)):
		// Who opened the page in time may still be at the bank after the link has expired, and what was made there may be told
		// later than that it was.
		return bank.Outcome{State: bank.Visiting}
	case len(l.Sessions) > 0:
		return bank.Outcome{State: bank.Left, Cause: l.Sessions[len(l.Sessions)-1].cause()}
	case l.over(now):
		return bank.Outcome{State: bank.Left, Cause: bank.TooLate}
	}
	return bank.Outcome{State: bank.Visiting}
}

// over reports whether the link can no longer be opened. Plaid may leave its end out; then the session's own ends it.
func (l linkState) over(now time.Time) bool {
	return !l.Expiration.IsZero() && !now.Before(l.Expiration)
}

func (s linkSession) succeeded() bool {
	handedOff := false
	for _, e := range s.Events {
		handedOff = handedOff || e.Name == "HANDOFF"
	}
	return handedOff || s.OnSuccess != nil || s.Results != nil && len(s.Results.Added) > 0
}

func (s linkSession) ended() bool {
	return s.succeeded() || s.FinishedAt != nil || s.OnExit != nil || s.Exit != nil
}

// cause is the trouble that the person had last, where that is why they left.
func (s linkSession) cause() bank.Cause {
	for _, e := range []*linkExit{s.OnExit, s.Exit} {
		if e == nil || e.Error == nil {
			continue
		}
		switch known := rules[e.Error.Code]; {
		case known.kind == bank.UserMustAct:
			return bank.BadCredentials
		case known.kind == bank.RetryAfter || known.kind == bank.Retry:
			return bank.BankDown
		case strings.Contains(e.Error.Code, "SUPPORTED"):
			return bank.Unreadable
		}
	}
	if !s.ended() {
		return bank.TooLate
	}
	return ""
}

// candidates appends what the session made to those before it, each public token once.
func (s linkSession) candidates(made []bank.Candidate) []bank.Candidate {
	add := func(public string, institution *linkInstitution, accounts []linkAccount) {
		key := bank.Hash(Name, public)
		known := slices.ContainsFunc(made, func(c bank.Candidate) bool { return c.Key == key })
		if public == "" || known {
			return
		}
		c := bank.Candidate{Key: key, Public: secret.New(public)}
		if institution != nil {
			c.Institution = bank.Institution{ID: institution.ID, Name: institution.Name}
		}
		for _, a := range accounts {
			c.Accounts = append(c.Accounts, bank.Account{
				ID: a.ID, Name: a.Name, Mask: a.Mask, Type: accountType(a.Type), Subtype: a.Subtype,
			})
		}
		made = append(made, c)
	}
	if s.Results != nil {
		for _, r := range s.Results.Added {
			add(r.PublicToken, r.Institution, r.Accounts)
		}
	}
	if s.OnSuccess != nil {
		if m := s.OnSuccess.Metadata; m != nil {
			add(s.OnSuccess.PublicToken, m.Institution, m.Accounts)
		} else {
			add(s.OnSuccess.PublicToken, nil, nil)
		}
	}
	return made
}

// Exchange turns a public token, which lives for 30 minutes, into an item. There is no way to ask for the access token again.
func (p *Plaid) Exchange(ctx context.Context, c bank.Candidate) (bank.Grant, error) {
	const call = "/item/public_token/exchange"
	request := sdk.ItemPublicTokenExchangeRequest{PublicToken: c.Public.Reveal()}
	item, answer, err := p.api.ItemPublicTokenExchange(ctx).ItemPublicTokenExchangeRequest(request).Execute()
	if err != nil {
		return bank.Grant{}, failure(call, answer, err)
	}
	if item.AccessToken == "" || item.ItemId == "" {
		return bank.Grant{}, broken(call, badAnswer, errors.New("no item"))
	}
	return bank.Grant{Item: item.ItemId, Token: secret.New(item.AccessToken)}, nil
}

// Discard has nothing to do: Plaid forgets what is not exchanged.
func (*Plaid) Discard(context.Context, bank.Candidate) error { return nil }

// Remove ends the item, and with it what Plaid charges for it.
func (p *Plaid) Remove(ctx context.Context, token secret.String) error {
	if err := p.ours(token); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	request := sdk.ItemRemoveRequest{AccessToken: token.Reveal()}
	_, answer, err := p.api.ItemRemove(ctx).ItemRemoveRequest(request).Execute()
	if err == nil {
		return nil
	}
	if err = failure("/item/remove", answer, err); errors.Is(err, bank.ErrGone) {
		return nil
	}
	return err
}
