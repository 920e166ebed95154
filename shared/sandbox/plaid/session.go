package plaid

import (
	"fmt"
	"slices"
	"time"
)

// Step is where a session of the Link page is.
type Step string

// The steps, in order; update mode begins at the sign-in.
const (
	ChooseBank     Step = "institution"
	EnterLogin     Step = "credentials"
	EnterAtBank    Step = "oauth" // the bank's own page
	ChooseAccounts Step = "accounts"
	Finished       Step = "done"
)

type session struct {
	ID          string    `json:"id"`
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished,omitzero"`
	Step        Step      `json:"step"`
	Institution string    `json:"institution,omitempty"`
	Customer    string    `json:"customer,omitempty"` // signed in
	Error       *Error    `json:"error,omitempty"`    // what the last step met
	Public      string    `json:"public,omitempty"`   // public token of the success
	Item        string    `json:"item,omitempty"`
	Exit        string    `json:"exit,omitempty"` // what the page was waiting for when it was left
	Events      []event   `json:"events"`
}

type event struct {
	ID       string         `json:"event_id"`
	Name     string         `json:"event_name"`
	At       time.Time      `json:"timestamp"`
	Metadata map[string]any `json:"event_metadata"`
}

// Choice is an account that a session offers.
type Choice struct {
	ID         string // bank account id
	Name, Mask string
	Chosen     bool // the Item shows it already, or the connection is new
}

// SessionView is what the page and /link/token/get show of a session.
type SessionView struct {
	ID                string
	Started, Finished time.Time // Finished is zero while it is open
	Step              Step
	Update            bool
	Institution       *Institution // nil before one is chosen
	Choices           []Choice     // at the step ChooseAccounts
	Error             *Error       // what the last step met
	PublicToken       string       // of a success
	ItemID            string       // of a success
	Accounts          []Account    // of a success
	Exit              string       // of a cancelled one: what the page was waiting for
	Redirect          string       // completion_redirect_uri
	events            []event
}

// hostedLink returns the link of a Hosted Link address while it can be used.
func (b *Bank) hostedLink(id string) (*link, error) {
	l := b.hosted[id]
	if l == nil || !b.now().Before(l.expires) {
		return nil, refuse("INVALID_LINK_TOKEN")
	}
	return l, nil
}

func (b *Bank) newSession(l *link) *session {
	s := &session{ID: b.newUUID(), Started: b.now(), Step: ChooseBank}
	l.sessions = append(l.sessions, s)
	b.log(s, "OPEN", nil)
	switch {
	case l.item != "":
		b.chose(s, b.items[l.item].institution)
	case l.request.InstitutionID != "":
		inst, _ := b.institution(l.request.InstitutionID)
		b.chose(s, inst)
	}
	b.dirty.Touch(l)
	return s
}

func (b *Bank) log(s *session, name string, metadata map[string]any) {
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["request_id"] = letters(15, b.rand.Uint64)
	s.Events = append(s.Events, event{b.newUUID(), name, b.now(), metadata})
}

func (l *link) session(id string) (*session, error) {
	for _, s := range l.sessions {
		if s.ID == id {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no session %q", id)
}

// at holds a session to the steps at which an action makes sense.
func (s *session) at(steps ...Step) error {
	if !slices.Contains(steps, s.Step) {
		return fmt.Errorf("the session is at the step %q", s.Step)
	}
	return nil
}

// StartSession opens the page of a Hosted Link and returns the session's id.
func (b *Bank) StartSession(hostedID string) (string, error) {
	l, err := b.hostedLink(hostedID)
	if err != nil {
		return "", err
	}
	return b.newSession(l).ID, nil
}

// Session shows a session of a Hosted Link.
func (b *Bank) Session(hostedID, id string) (SessionView, error) {
	l := b.hosted[hostedID]
	if l == nil {
		return SessionView{}, refuse("INVALID_LINK_TOKEN")
	}
	s, err := l.session(id)
	if err != nil {
		return SessionView{}, err
	}
	return b.sessionView(l, s), nil
}

// Act does one step of a session: which one, and what the user entered.
type Act struct {
	Step           Step
	Exit           bool
	Institution    string
	User, Password string
	Accounts       []string // bank account ids
	All            bool     // every account that is offered
}

// Act moves a session on. What the bank or Plaid refuses stays in the session's Error and is shown to the user; the error
// returned here is for an action that makes no sense in the session's state, or a link that is no longer valid.
func (b *Bank) Act(hostedID, id string, a Act) error {
	l, err := b.hostedLink(hostedID)
	if err != nil {
		return err
	}
	s, err := l.session(id)
	if err != nil {
		return err
	}
	defer b.dirty.Touch(l)
	if a.Exit {
		return b.exit(l, s)
	}
	if err := s.at(a.Step); err != nil {
		return err
	}
	s.Error = nil
	switch a.Step {
	case ChooseBank:
		b.chooseBank(l, s, a.Institution)
	case EnterLogin, EnterAtBank:
		b.enter(l, s, a.User, a.Password)
	case ChooseAccounts:
		b.chooseAccounts(l, s, a)
	default:
		return fmt.Errorf("no step %q", a.Step)
	}
	return nil
}

func (b *Bank) stop(s *session, e *Error) {
	s.Error = e
	b.log(s, "ERROR", map[string]any{"error_type": e.Type, "error_code": e.Code, "error_message": e.Message})
}

func (b *Bank) chooseBank(l *link, s *session, id string) {
	inst, err := b.InstitutionByID(id, l.request.CountryCodes)
	if err != nil {
		b.stop(s, refuse("INVALID_INSTITUTION"))
		return
	}
	if e := inst.outage(); e != nil {
		b.stop(s, e)
		return
	}
	b.chose(s, inst)
}

// outage is what an institution that cannot be connected answers.
func (i *Institution) outage() *Error {
	switch i.health {
	case down:
		return refuse("INSTITUTION_DOWN")
	case unsupported:
		return refuse("INSTITUTION_NO_LONGER_SUPPORTED")
	}
	return nil
}

func (b *Bank) chose(s *session, inst *Institution) {
	s.Institution = inst.ID
	s.Step = EnterLogin
	b.log(s, "SELECT_INSTITUTION", map[string]any{"institution_id": inst.ID, "institution_name": inst.Name})
	if inst.OAuth {
		s.Step = EnterAtBank
		b.log(s, "OPEN_OAUTH", nil)
	}
}

func (b *Bank) enter(l *link, s *session, user, password string) {
	inst, _ := b.institution(s.Institution)
	c, e := b.signIn(inst, user, password)
	if e == nil && l.item != "" && b.items[l.item].customer != c {
		e = refuse("INVALID_UPDATED_USERNAME")
	}
	if e == nil && len(l.offered(c)) == 0 {
		e = refuse("NO_ACCOUNTS")
	}
	if e != nil {
		b.stop(s, e)
		return
	}
	s.Customer = c.id
	b.log(s, "SUBMIT_CREDENTIALS", nil)
	if l.item != "" && !l.selects(inst) {
		b.finish(l, s, nil)
		return
	}
	s.Step = ChooseAccounts
}

// selects reports whether update mode asks for the accounts: when told to, and at OAuth banks of the United States always;
// never in Europe.
func (l *link) selects(inst *Institution) bool {
	return !inst.european() && (l.request.Update.AccountSelection || inst.OAuth)
}

// offered returns the accounts of a customer that the filters let through.
func (l *link) offered(c *customer) []*holding {
	var out []*holding
	for _, h := range c.holdings {
		f, listed := l.request.AccountFilters[h.Type]
		fits := len(l.request.AccountFilters) == 0 || listed && (slices.Contains(f.Subtypes, "all") || slices.Contains(f.Subtypes, h.Subtype))
		if fits && !h.closed {
			out = append(out, h)
		}
	}
	return out
}

func (b *Bank) chooseAccounts(l *link, s *session, a Act) {
	var chosen []*holding
	for _, h := range l.offered(b.customers[s.Customer]) {
		if a.All || slices.Contains(a.Accounts, h.id) {
			chosen = append(chosen, h)
		}
	}
	if len(chosen) == 0 {
		b.stop(s, refuse("NO_ACCOUNTS"))
		return
	}
	b.finish(l, s, chosen)
}

// finish ends a session well: a new Item, or the repaired one. In update mode chosen is nil where the user was not asked.
func (b *Bank) finish(l *link, s *session, chosen []*holding) {
	it := b.items[l.item]
	switch {
	case it == nil:
		it = b.newItem(l.client, b.customers[s.Customer], chosen, l.request)
	case it.removed:
		b.stop(s, refuse("ITEM_NOT_FOUND"))
		return
	default:
		if chosen != nil {
			b.reselect(it, chosen)
		}
		it.renewConsent(b.now())
		b.repair(it)
		b.Announce()
	}
	p := b.newPublic(it)
	s.Item, s.Public = it.id, p.token
	b.log(s, "HANDOFF", map[string]any{"institution_id": it.institution.ID, "institution_name": it.institution.Name})
	if l.item == "" {
		b.emitLink(l, "ITEM_ADD_RESULT", map[string]any{"link_session_id": s.ID, "public_token": p.token})
	}
	b.close(l, s, map[string]any{"status": "SUCCESS", "public_token": p.token, "public_tokens": []string{p.token}})
}

// reselect makes an Item show exactly the chosen accounts. One that comes back keeps its account_id, and all that it shows
// is told again, since its reader may have missed it.
func (b *Bank) reselect(it *item, chosen []*holding) {
	for _, a := range slices.Backward(it.accounts) {
		wanted := slices.Contains(chosen, a.holding)
		if a.gone && wanted && it.shows(a.holding) == nil {
			a.gone = false
			b.retell(it, a)
		} else if !wanted {
			a.gone = true
		}
	}
	for _, h := range chosen {
		if it.shows(h) == nil {
			b.addAccount(it, h)
		}
	}
	b.dirty.Touch(it)
}

func (b *Bank) retell(it *item, a *account) {
	for _, r := range a.holding.rows {
		if e := it.byRow[r.id]; e != nil && e.live() {
			b.append(it, e, false)
		}
	}
}

func (b *Bank) exit(l *link, s *session) error {
	if s.Step == Finished {
		return s.at(ChooseBank, EnterLogin, EnterAtBank, ChooseAccounts)
	}
	s.Exit = s.exitStatus()
	b.log(s, "EXIT", map[string]any{"exit_status": s.Exit})
	b.close(l, s, map[string]any{"status": "EXITED", "public_tokens": []string{}})
	return nil
}

func (s *session) exitStatus() string {
	switch s.Step {
	case ChooseBank:
		return "requires_institution_search"
	case ChooseAccounts:
		return "requires_account_selection"
	default:
		return "requires_credentials"
	}
}

func (b *Bank) close(l *link, s *session, result map[string]any) {
	s.Finished, s.Step = b.now(), Finished
	result["link_session_id"] = s.ID
	b.emitLink(l, "EVENTS", map[string]any{"link_session_id": s.ID, "events": s.Events})
	b.emitLink(l, "SESSION_FINISHED", result)
	b.dirty.Touch(l)
}

func (b *Bank) sessionView(l *link, s *session) SessionView {
	v := SessionView{
		ID: s.ID, Started: s.Started, Finished: s.Finished, Step: s.Step, Update: l.item != "", Error: s.Error,
		PublicToken: s.Public, ItemID: s.Item, Exit: s.Exit, events: s.Events,
	}
	if l.request.Hosted != nil {
		v.Redirect = l.request.Hosted.CompletionRedirectURI
	}
	if inst, ok := b.institution(s.Institution); ok {
		v.Institution = inst
	}
	if it := b.items[s.Item]; it != nil {
		v.Accounts = it.show()
	}
	if s.Step == ChooseAccounts {
		for _, h := range l.offered(b.customers[s.Customer]) {
			chosen := l.item == "" || b.items[l.item].shows(h) != nil
			v.Choices = append(v.Choices, Choice{h.id, h.Name, h.Mask, chosen})
		}
	}
	return v
}

// Connect walks a user through the page of a link token at once and returns the public token: what a test or a simulator
// does that is not about the page. All accounts that are offered are chosen; institution is ignored in update mode.
func (b *Bank) Connect(linkToken, institution, user, password string) (publicToken string, err error) {
	l := b.links[linkToken]
	if l == nil || !b.now().Before(l.expires) {
		return "", refuse("INVALID_LINK_TOKEN")
	}
	s := b.newSession(l)
	for s.Step != Finished {
		switch s.Step {
		case ChooseBank:
			b.chooseBank(l, s, institution)
		case EnterLogin, EnterAtBank:
			b.enter(l, s, user, password)
		case ChooseAccounts:
			b.chooseAccounts(l, s, Act{All: true})
		case Finished:
		}
		if s.Error != nil {
			return "", s.Error
		}
	}
	return s.Public, nil
}

// SandboxPublicToken answers /sandbox/public_token/create: an Item of all the user's accounts without a session.
func (b *Bank) SandboxPublicToken(client, institution, user, password string, r LinkRequest) (string, error) {
	inst, ok := b.institution(institution)
	if !ok {
		return "", refuse("INVALID_INSTITUTION")
	}
	if len(r.Products) == 0 {
		return "", invalidField("initial_products must contain at least one product")
	}
	c, e := b.signIn(inst, user, password)
	if e != nil {
		return "", e
	}
	it := b.newItem(client, c, (&link{request: r}).offered(c), r)
	return b.newPublic(it).token, nil
}
