package pluggy

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// Control is the path of the control interface, which scripts the bank from another process; code in the same process has Server.Do and Server.Connect.
// It needs no credentials and is not Pluggy's. Each POST takes a JSON object (application/json, so that no foreign web page
// can send it) and answers a JSON object; what cannot be done is 400 with {"error": …}. An account is named by its id or its
// bank account id, a row by its row id or any transaction id. Unless Config.WaitForSync is set, what changes is collected
// and announced by webhooks at once. Faults, mischief and visits end with the process; everything else outlives it.
//
//	GET    /_sim/items                    every item with its accounts and how their balances tie out
//	POST   /_sim/connect                  connect_token, connector (id), user, password, mfa, cpf, deny → item_id, status:
//	                                      what a person does in the Connect widget; a token of update mode needs no connector
//	POST   /_sim/transactions             account, transactions: [Row…] → rows: [row id…]
//	POST   /_sim/transactions/amend       id, and an Amendment: also PENDING to POSTED, keeping the id or not
//	POST   /_sim/transactions/vanish      id
//	POST   /_sim/transactions/return      id (row id)
//	POST   /_sim/transactions/churn       id: same row, new transaction id
//	POST   /_sim/accounts/open            connector, user, and the members of AccountRequest → account
//	POST   /_sim/accounts/close           account
//	POST   /_sim/accounts/balance         account, balance
//	POST   /_sim/accounts/churn           account: new ids for all its transactions
//	POST   /_sim/items/fail               item_id, status (an execution status), provider_message
//	POST   /_sim/items/repair             item_id
//	POST   /_sim/items/sync               item_id
//	POST   /_sim/items/revoke             item_id: the consent
//	POST   /_sim/items/consent            item_id, expires (RFC 3339)
//	POST   /_sim/items/discontinue        item_id: Pluggy deletes it
//	POST   /_sim/connectors?name=&last_day=   text/csv: a bank's file, see LoadStatement → connector
//	POST   /_sim/connectors/health        connector, status: ONLINE, OFFLINE or UNSTABLE
//	GET    /_sim/webhooks                 waiting, and the last deliveries
//	POST   /_sim/webhooks                 a Mischief
//	POST   /_sim/webhooks/forge           client, body (any JSON), headers (bool): sends body to the client's webhooks, with
//	                                      their headers or without
//	POST   /_sim/faults                   a Fault
//	DELETE /_sim/faults                   ends all faults
//	POST   /_sim/clock                    advance_seconds → now
const Control = "/_sim/"

func (s *Server) controlRoutes() {
	s.mux.HandleFunc("GET "+Control+"items", s.listItems)
	s.mux.HandleFunc("GET "+Control+"webhooks", s.listWebhooks)
	s.mux.HandleFunc("POST "+Control+"connectors", s.takeCSV)
	s.mux.HandleFunc("DELETE "+Control+"faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		s.write(w, http.StatusOK, struct{}{})
	})
	s.rowControls()
	s.accountControls()
	s.itemControls()
	s.serverControls()
}

// control registers a POST; f runs with s.mu held and returns the members of the answer.
func control[In any](s *Server, path string, f func(b *Bank, in In) (map[string]any, error)) {
	s.mux.HandleFunc("POST "+Control+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		out := map[string]any{}
		err := readControl(w, r, &in)
		if err == nil {
			err = s.Do(func(b *Bank) error {
				more, err := f(b, in)
				for k, v := range more {
					out[k] = v
				}
				return err
			})
		}
		if err != nil {
			s.write(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		s.write(w, http.StatusOK, out)
	})
}

func readControl(w http.ResponseWriter, r *http.Request, in any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return errors.New("the body must be application/json")
	}
	return json.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxBody), in, json.RejectUnknownMembers(true))
}

// Connect does what a person does in the Connect widget with a connect token, without a browser, and returns the item's id
// and status, as far as the clock lets it come; with Config.Step 0 that is to the end, or to where the Visit has no answer.
// In update mode, which the token says, Visit.Connector and Visit.Item are not read. An item that ends in an error is no
// error: it exists. An *Error says that Pluggy refused, an *ItemError that the bank's page did.
func (s *Server) Connect(token string, v Visit) (itemID, status string, err error) {
	err = s.Do(func(b *Bank) error {
		itemID, status, err = s.connect(b, token, v)
		return err
	})
	return itemID, status, err
}

func (s *Server) connect(b *Bank, token string, v Visit) (itemID, status string, err error) {
	client, t, err := s.signer.read(token, b.now())
	if err != nil || t == nil {
		return "", "", unauthorised()
	}
	v.Item = t.Item
	return b.Connect(client, t.ID, t.Options, v)
}

type byItemID struct {
	ItemID string `json:"item_id"`
}

type byRowID struct {
	ID string `json:"id"`
}

type byAccount struct {
	Account string `json:"account"`
}

func (s *Server) rowControls() {
	type add struct {
		Account      string `json:"account"`
		Transactions []Row  `json:"transactions"`
	}
	control(s, "transactions", func(b *Bank, in add) (map[string]any, error) {
		rows, err := b.Add(in.Account, in.Transactions...)
		return map[string]any{"rows": rows}, err
	})
	type amend struct {
		byRowID
		Amendment
	}
	control(s, "transactions/amend", func(b *Bank, in amend) (map[string]any, error) {
		return nil, b.Amend(in.byRowID.ID, in.Amendment)
	})
	control(s, "transactions/vanish", func(b *Bank, in byRowID) (map[string]any, error) { return nil, b.Vanish(in.ID) })
	control(s, "transactions/return", func(b *Bank, in byRowID) (map[string]any, error) { return nil, b.Return(in.ID) })
	control(s, "transactions/churn", func(b *Bank, in byRowID) (map[string]any, error) { return nil, b.Churn(in.ID) })
}

// AccountRequest is an account that the control interface opens.
type AccountRequest struct {
	Connector int             `json:"connector"`
	User      string          `json:"user"`
	Name      string          `json:"name"`
	Number    string          `json:"number"`
	Type      string          `json:"type"`
	Subtype   string          `json:"subtype"`
	Currency  string          `json:"currency"`
	Balance   decimal.Decimal `json:"balance"`
}

func (s *Server) accountControls() {
	control(s, "accounts/open", func(b *Bank, in AccountRequest) (map[string]any, error) {
		id, err := b.OpenAccount(in.Connector, in.User, Holding{
			Name: in.Name, Number: in.Number, Type: in.Type, Subtype: in.Subtype, Currency: in.Currency, Opening: in.Balance,
		})
		return map[string]any{"account": id}, err
	})
	type balance struct {
		byAccount
		Balance decimal.Decimal `json:"balance"`
	}
	control(s, "accounts/balance", func(b *Bank, in balance) (map[string]any, error) { return nil, b.SetBalance(in.Account, in.Balance) })
	control(s, "accounts/close", func(b *Bank, in byAccount) (map[string]any, error) { return nil, b.CloseAccount(in.Account) })
	control(s, "accounts/churn", func(b *Bank, in byAccount) (map[string]any, error) { return nil, b.ChurnAccount(in.Account) })
	type health struct {
		Connector int    `json:"connector"`
		Status    string `json:"status"`
	}
	control(s, "connectors/health", func(b *Bank, in health) (map[string]any, error) { return nil, b.SetHealth(in.Connector, in.Status) })
}

func (s *Server) itemControls() {
	type connect struct {
		ConnectToken string `json:"connect_token"`
		Connector    int    `json:"connector"`
		User         string `json:"user"`
		Password     string `json:"password"`
		MFA          string `json:"mfa"`
		CPF          string `json:"cpf"`
		Deny         bool   `json:"deny"`
	}
	control(s, "connect", func(b *Bank, in connect) (map[string]any, error) {
		id, status, err := s.connect(b, in.ConnectToken, Visit{
			Connector: in.Connector, User: in.User, Password: in.Password, CPF: in.CPF, MFA: in.MFA, Deny: in.Deny,
		})
		return map[string]any{"item_id": id, "status": status}, err
	})
	type fail struct {
		byItemID
		Status          string `json:"status"`
		ProviderMessage string `json:"provider_message"`
	}
	control(s, "items/fail", func(b *Bank, in fail) (map[string]any, error) {
		return nil, b.Fail(in.ItemID, in.Status, in.ProviderMessage)
	})
	control(s, "items/repair", func(b *Bank, in byItemID) (map[string]any, error) { return nil, b.Repair(in.ItemID) })
	control(s, "items/sync", func(b *Bank, in byItemID) (map[string]any, error) { return nil, b.Sync(in.ItemID) })
	control(s, "items/revoke", func(b *Bank, in byItemID) (map[string]any, error) { return nil, b.Revoke(in.ItemID) })
	control(s, "items/discontinue", func(b *Bank, in byItemID) (map[string]any, error) { return nil, b.Discontinue(in.ItemID) })
	type consent struct {
		byItemID
		Expires time.Time `json:"expires"`
	}
	control(s, "items/consent", func(b *Bank, in consent) (map[string]any, error) { return nil, b.ExpireConsent(in.ItemID, in.Expires) })
}

func (s *Server) serverControls() {
	control(s, "webhooks", func(_ *Bank, in Mischief) (map[string]any, error) {
		s.hooks.mischief = in
		return nil, nil
	})
	type forgery struct {
		Client  string         `json:"client"`
		Body    jsontext.Value `json:"body"`
		Headers bool           `json:"headers"`
	}
	control(s, "webhooks/forge", func(b *Bank, in forgery) (map[string]any, error) {
		sent := 0
		for _, w := range s.hooks.sorted() {
			if w.Client == in.Client && w.Disabled.IsZero() {
				sent++
				s.hooks.forge(w, in.Body, in.Headers, b.now())
			}
		}
		return map[string]any{"sent": sent}, nil
	})
	control(s, "faults", func(_ *Bank, in Fault) (map[string]any, error) {
		s.faults = append(s.faults, &in)
		return nil, nil
	})
	type clock struct {
		Seconds int64 `json:"advance_seconds"`
	}
	control(s, "clock", func(b *Bank, in clock) (map[string]any, error) {
		if in.Seconds < 0 {
			return nil, fmt.Errorf("the clock does not go back")
		}
		s.skew += time.Duration(in.Seconds) * time.Second
		s.hooks.dirty["clock/skew"] = s.skew
		b.Tick()
		return map[string]any{"now": b.now()}, nil
	})
}

// forge sends a body of somebody else's to a webhook.
func (h *hooks) forge(w *subscription, body []byte, headers bool, now time.Time) {
	target := w.ID
	if !headers {
		target = ""
	}
	h.add(Event{ID: uuid.NewString(), Name: "forged"}, w.URL, target, bytes.TrimSpace(body), now)
}

// Tie is how an account's balance follows from its rows, by Pluggy's sign and in the account's currency.
type Tie struct {
	Opening decimal.Decimal `json:"opening"` // before everything that the item shows
	Posted  decimal.Decimal `json:"posted"`  // POSTED and not in the future
	Pending decimal.Decimal `json:"pending"` // PENDING and not in the future
	Future  decimal.Decimal `json:"future"`  // dated in the future
	Balance decimal.Decimal `json:"balance"` // Opening + Posted + Pending, and on a card Future too
}

// Tie says how an account's balance, named by its id, follows from the transactions that its item shows.
func (b *Bank) Tie(accountID string) (Tie, error) {
	a := b.accounts[accountID]
	if a == nil {
		return Tie{}, fmt.Errorf("no account %q", accountID)
	}
	t := Tie{Balance: a.balance}
	for _, e := range a.sorted {
		v := e.shown.signed(e.shown.inAccount().Round(2), a.holding.Type)
		switch {
		case e.at.After(a.updated):
			t.Future = t.Future.Add(v)
		case e.shown.Pending:
			t.Pending = t.Pending.Add(v)
		default:
			t.Posted = t.Posted.Add(v)
		}
	}
	t.Opening = t.Balance.Sub(t.Posted).Sub(t.Pending)
	if a.holding.Type == CardAccount {
		t.Opening = t.Opening.Sub(t.Future)
	}
	return t, nil
}

func (s *Server) listItems(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	for _, it := range s.bank.sortedItems() {
		accounts := []map[string]any{}
		for _, a := range it.accounts {
			tie, _ := s.bank.Tie(a.id) // it is there
			one := accountJSON(a.view(s.bank.cfg.NegativeCards), true)
			one["bank_account"], one["tie"], one["transactions"] = a.holding.id, tie, len(a.sorted)
			accounts = append(accounts, one)
		}
		list = append(list, map[string]any{
			"client": it.client, "user": it.parameters["user"], "item": s.bank.itemJSON(it, s.base(r)), "accounts": accounts,
		})
	}
	s.write(w, http.StatusOK, map[string]any{"items": list})
}

func (s *Server) listWebhooks(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	out := map[string]any{"waiting": len(s.hooks.queue), "deliveries": append([]Delivered{}, s.hooks.record...)}
	s.mu.Unlock()
	s.write(w, http.StatusOK, out)
}
