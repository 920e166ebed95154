package banktest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/secret"
)

var directory = []Check{
	{"the provider has a name and countries", nameAndCountries},
	{"banks are found by name, and are at most 50", banksFound},
	{"a bank is found by its id as it is by its name", bankByID},
	{"a country that is not served has no banks", noBanksElsewhere},
}

var (
	names = regexp.MustCompile(`^[a-z][a-z0-9]{1,20}$`)
	iso   = regexp.MustCompile(`^[A-Z]{2}$`)
)

func nameAndCountries(_ context.Context, h Harness) error {
	if !names.MatchString(h.Provider.Name()) {
		return fmt.Errorf("%q is no name", h.Provider.Name())
	}
	countries := h.Provider.Countries()
	if !slices.Contains(countries, h.Country) {
		return fmt.Errorf("%s is not among %v", h.Country, countries)
	}
	for i, c := range countries {
		if !iso.MatchString(c) || slices.Contains(countries[:i], c) {
			return fmt.Errorf("%q is no country, or twice", c)
		}
	}
	for _, c := range h.Provider.Front().Adds {
		if !slices.Contains(countries, c) {
			return fmt.Errorf("accounts can be added in %s, where no bank can be connected", c)
		}
	}
	return nil
}

func banksFound(ctx context.Context, h Harness) error {
	for _, query := range []string{"", h.Query} {
		banks, err := h.Provider.Institutions(ctx, h.Country, query)
		if err != nil {
			return fmt.Errorf("%q: %w", query, err)
		}
		if len(banks) == 0 || len(banks) > 50 {
			return fmt.Errorf("%q: %d banks", query, len(banks))
		}
		for _, b := range banks {
			if err := presentable(b); err != nil {
				return err
			}
		}
		found := slices.ContainsFunc(banks, func(b bank.Institution) bool { return b.ID == h.Institution })
		if query != "" && !found {
			return fmt.Errorf("%q does not find %s", query, h.Institution)
		}
	}
	banks, err := h.Provider.Institutions(ctx, h.Country, "no bank has such a name")
	if err != nil || len(banks) > 0 {
		return fmt.Errorf("a search for nothing gives %d banks, %v", len(banks), err)
	}
	return nil
}

func bankByID(ctx context.Context, h Harness) error {
	banks, err := h.Provider.Institutions(ctx, h.Country, h.Query)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(banks, func(b bank.Institution) bool { return b.ID == h.Institution })
	if i < 0 {
		return fmt.Errorf("%q does not find %s", h.Query, h.Institution)
	}
	found, err := h.Provider.Institution(ctx, h.Country, h.Institution)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(banks[i], found); diff != "" {
		return fmt.Errorf("by its id it is another one (-by name +by id):\n%s", diff)
	}
	for _, asked := range []struct{ country, id string }{{h.Country, ""}, {h.Country, "999999999"}, {h.Country, "../x?y=z#"}, {"ZZ", h.Institution}} {
		if found, err := h.Provider.Institution(ctx, asked.country, asked.id); !errors.Is(err, bank.ErrNotFound) || bank.KindOf(err) != bank.Permanent {
			return fmt.Errorf("%s %q gives %q, %v", asked.country, asked.id, found.Name, err)
		}
	}
	return nil
}

var (
	colours = regexp.MustCompile(`^(#[0-9a-f]{6})?$`)
	logos   = regexp.MustCompile(`^$|^data:image/|^https://|^http://(localhost|127\.0\.0\.1|\[::1\])[:/]`)
)

func presentable(b bank.Institution) error {
	switch {
	case b.ID == "", b.Name == "":
		return fmt.Errorf("a bank without an id or a name: %q %q", b.ID, b.Name)
	case !colours.MatchString(b.Colour):
		return fmt.Errorf("%s has the colour %q", b.ID, b.Colour)
	case !logos.MatchString(b.Logo):
		return fmt.Errorf("%s has a logo that a page cannot show", b.ID)
	case b.URL != "" && !strings.HasPrefix(b.URL, "https://") && !strings.HasPrefix(b.URL, "http://"):
		return fmt.Errorf("%s has the address %q", b.ID, b.URL)
	}
	return nil
}

func noBanksElsewhere(ctx context.Context, h Harness) error {
	for _, country := range []string{"XX", "", "../"} {
		if banks, err := h.Provider.Institutions(ctx, country, ""); err == nil || len(banks) > 0 {
			return fmt.Errorf("%q: %d banks, %v", country, len(banks), err)
		}
		if _, err := h.Provider.Begin(ctx, bank.Begin{User: "user-1", Country: country, Return: returnURL}); err == nil {
			return fmt.Errorf("a session began in %q", country)
		}
	}
	return nil
}

var linking = []Check{
	{"a session leads the person to the bank and back with an item", sessionMakesItem},
	{"who has not come back is visiting", visiting},
	{"who turns back has made nothing", leaving},
	{"an outcome may be asked again and again", outcomeAgain},
	{"what a browser hints is not believed", hintNotBelieved},
	{"a candidate's accounts are those of its item", candidateAccounts},
	{"an item can be repaired and stays the same", repaired},
	{"newly opened accounts can be shared", newAccounts},
}

func sessionMakesItem(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	b := c.began
	switch {
	case b.Handle.Empty(), b.Ref == "", strings.Contains(b.Ref, b.Handle.Reveal()):
		return errors.New("the session has no handle, or a ref that tells it")
	case (b.URL == "") == b.Widget.Empty():
		return errors.New("the person needs either a page or a widget")
	case b.Expires.IsZero(), b.Forgets.Before(b.Expires):
		return fmt.Errorf("the session expires %v and is forgotten %v", b.Expires, b.Forgets)
	case c.Item == "", c.Token.Empty(), c.item.ID != c.Item:
		return fmt.Errorf("the item is %q after an exchange for %q", c.item.ID, c.Item)
	case c.item.Institution.ID != h.Institution:
		return fmt.Errorf("the item is of %q", c.item.Institution.ID)
	case c.item.NeedsUser != "":
		return fmt.Errorf("a new item needs its person: %s", c.item.NeedsUser)
	}
	for i, a := range c.item.Accounts {
		same := func(other bank.Account) bool { return other.ID == a.ID }
		if a.ID == "" || a.Name == "" || a.Currency == "" || a.Type == "" || slices.ContainsFunc(c.item.Accounts[:i], same) {
			return fmt.Errorf("an account is not whole, or twice: %+v", a)
		}
	}
	for _, t := range []bank.AccountType{bank.Deposit, bank.Card} {
		if _, err := c.account(t); err != nil {
			return err
		}
	}
	return nil
}

func visiting(ctx context.Context, h Harness) error {
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return err
	}
	return expect(ctx, h, bank.Visit{Handle: begun.Handle, User: "user-1"}, bank.Visiting)
}

func leaving(ctx context.Context, h Harness) error {
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return err
	}
	hint, err := h.Bank.Leave(ctx, begun)
	if err != nil {
		return err
	}
	return expect(ctx, h, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint}, bank.Left)
}

// expect asks for an outcome without candidates.
func expect(ctx context.Context, h Harness, v bank.Visit, state bank.VisitState) error {
	out, err := h.Provider.Outcome(ctx, v)
	if err != nil {
		return fmt.Errorf("outcome: %w", err)
	}
	if out.State != state || len(out.Candidates) > 0 {
		return fmt.Errorf("the outcome is %s with %d candidates, want %s", out.State, len(out.Candidates), state)
	}
	return nil
}

// secrets are compared by their text.
var byText = cmp.Comparer(func(a, b secret.String) bool { return a.Equal(b.Reveal()) })

func outcomeAgain(ctx context.Context, h Harness) error {
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return err
	}
	hint, err := h.Bank.SignIn(ctx, begun)
	if err != nil {
		return err
	}
	var first bank.Outcome
	for i := range 3 {
		out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint})
		if err != nil {
			return fmt.Errorf("outcome: %w", err)
		}
		if i == 0 {
			first = out
		}
		if diff := cmp.Diff(first.Candidates, out.Candidates, byText); diff != "" || out.State != bank.Finished {
			return fmt.Errorf("the outcome changed to %s (candidates differ: %v)", out.State, diff != "")
		}
	}
	if len(first.Candidates) != 1 || first.Candidates[0].Key == "" {
		return fmt.Errorf("%d candidates, or one without a key", len(first.Candidates))
	}
	return nil
}

func hintNotBelieved(ctx context.Context, h Harness) error {
	theirs, err := begin(ctx, h, bank.Begin{User: "user-1"})
	if err != nil {
		return err
	}
	hint, err := h.Bank.SignIn(ctx, theirs)
	if err != nil {
		return err
	}
	out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: theirs.Handle, User: "user-1", Hint: hint})
	if err != nil || len(out.Candidates) == 0 {
		return fmt.Errorf("%d candidates, %v", len(out.Candidates), err)
	}
	ours, err := begin(ctx, h, bank.Begin{User: "user-2"})
	if err != nil {
		return err
	}
	for _, h2 := range []string{hint, out.Candidates[0].Public.Reveal(), out.Candidates[0].Key, theirs.Handle.Reveal()} {
		out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: ours.Handle, User: "user-2", Hint: h2})
		if err == nil && len(out.Candidates) > 0 {
			return errors.New("one user's item was given to another who knew its name")
		}
	}
	return nil
}

func candidateAccounts(ctx context.Context, h Harness) error {
	begun, err := begin(ctx, h, bank.Begin{})
	if err != nil {
		return err
	}
	hint, err := h.Bank.SignIn(ctx, begun)
	if err != nil {
		return err
	}
	out, err := h.Provider.Outcome(ctx, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint})
	if err != nil || len(out.Candidates) != 1 {
		return fmt.Errorf("%d candidates, %v", len(out.Candidates), err)
	}
	c := out.Candidates[0]
	grant, err := h.Provider.Exchange(ctx, c)
	if err != nil {
		return err
	}
	item, err := h.Provider.Item(ctx, grant.Token)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(masks(item.Accounts), masks(c.Accounts)); diff != "" || c.Institution.ID != item.Institution.ID {
		return fmt.Errorf("a duplicate could not be noticed: %s at %q: %s", item.Institution.ID, c.Institution.ID, diff)
	}
	return nil
}

// masks are what an account is recognised by before there is an item.
func masks(accounts []bank.Account) []string {
	var all []string
	for _, a := range accounts {
		all = append(all, fmt.Sprint(a.Type, "/", a.Mask, "/", a.Name))
	}
	slices.Sort(all)
	return all
}

// again sends the person of an item to the bank once more.
func (c *connected) again(ctx context.Context, h Harness, accounts bool) error {
	begun, err := begin(ctx, h, bank.Begin{Token: c.Token, Accounts: accounts})
	if err != nil {
		return err
	}
	hint, err := h.Bank.SignIn(ctx, begun)
	if err != nil {
		return err
	}
	if err := expect(ctx, h, bank.Visit{Handle: begun.Handle, User: "user-1", Hint: hint}, bank.Finished); err != nil {
		return fmt.Errorf("a repair makes no item: %w", err)
	}
	before := c.item
	if c.item, err = h.Provider.Item(ctx, c.Token); err != nil {
		return err
	}
	if c.item.ID != before.ID || c.item.NeedsUser != "" {
		return fmt.Errorf("the item %q became %q, which needs %q", before.ID, c.item.ID, c.item.NeedsUser)
	}
	return nil
}

func repaired(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	if err := h.Bank.BreakLogin(ctx, c.Item); err != nil {
		return err
	}
	if rang, _, err := c.notices(ctx, h); err != nil || !rang {
		return fmt.Errorf("no webhook told of the trouble: %v", err)
	}
	item, err := h.Provider.Item(ctx, c.Token)
	if err != nil || item.NeedsUser == "" {
		return fmt.Errorf("the item does not say that it needs its person: %v", err)
	}
	if _, err := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: c.at}); err != nil && bank.KindOf(err) != bank.UserMustAct {
		return fmt.Errorf("reading a broken item is %s: %w", bank.KindOf(err), err)
	}
	if err := c.again(ctx, h, false); err != nil {
		return err
	}
	if err := c.follow(ctx, h, false); err != nil {
		return fmt.Errorf("reading does not go on where it stood: %w", err)
	}
	return c.tally(ctx, h)
}

func newAccounts(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	for _, country := range h.Provider.Countries() {
		adds := slices.Contains(h.Provider.Front().Adds, country)
		_, err := h.Provider.Begin(ctx, bank.Begin{Session: "suite", User: "user-1", Country: country, Language: "en", Return: returnURL, Token: c.Token, Accounts: true})
		if adds && err != nil || !adds && !errors.Is(err, bank.ErrUnsupported) {
			return fmt.Errorf("accounts can be added in %s: %t, but a visit that asks for it ends with %v", country, adds, err)
		}
	}
	before := len(c.item.Accounts)
	if err := h.Bank.Open(ctx, c.Item); err != nil {
		return err
	}
	if rang, _, err := c.notices(ctx, h); err != nil || !rang {
		return fmt.Errorf("no webhook told of the new account: %v", err)
	}
	if err := c.again(ctx, h, true); err != nil {
		return err
	}
	if len(c.item.Accounts) != before+1 {
		return fmt.Errorf("%d accounts became %d", before, len(c.item.Accounts))
	}
	return nil
}

var ending = []Check{
	{"removing an item twice is removing it once", removeTwice},
	{"what is removed is gone for every call", removedIsGone},
	{"a consent that was revoked at the bank is told", revokedIsTold},
}

func removeTwice(ctx context.Context, h Harness) error {
	c, err := connect(ctx, h)
	if err != nil {
		return err
	}
	for i := range 3 {
		if err := h.Provider.Remove(ctx, c.Token); err != nil {
			return fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	return nil
}

func removedIsGone(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	if err := h.Provider.Remove(ctx, c.Token); err != nil {
		return err
	}
	_, itemErr := h.Provider.Item(ctx, c.Token)
	_, readErr := h.Provider.Changes(ctx, bank.From{Token: c.Token, At: c.at})
	for call, err := range map[string]error{"item": itemErr, "changes": readErr} {
		if !errors.Is(err, bank.ErrGone) || bank.KindOf(err) != bank.Permanent {
			return fmt.Errorf("%s of a removed item: %v", call, err)
		}
	}
	return nil
}

func revokedIsTold(ctx context.Context, h Harness) error {
	c, err := read(ctx, h)
	if err != nil {
		return err
	}
	if err := h.Bank.Revoke(ctx, c.Item); err != nil {
		return err
	}
	if rang, _, err := c.notices(ctx, h); err != nil || !rang {
		return fmt.Errorf("no webhook told of it: %v", err)
	}
	item, err := h.Provider.Item(ctx, c.Token)
	if !errors.Is(err, bank.ErrGone) && (err != nil || item.NeedsUser == "") {
		return fmt.Errorf("the item is well: %+v, %v", item, err)
	}
	if err := h.Provider.Remove(ctx, c.Token); err != nil {
		return fmt.Errorf("it cannot be removed: %w", err)
	}
	return nil
}

// soon bounds how long a call may take to notice that nobody waits for it.
const soon = 5 * time.Second
