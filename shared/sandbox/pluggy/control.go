package pluggy

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// Control is the path of the control interface, with these controls beside those of every provider (see
// provider.ControlPath); code in the same process has Server.Do and Server.Connect. An account is named by its id or its bank
// account id, a row by its row id or any transaction id. Unless Config.WaitForSync is set, what changes is collected and
// announced at once. Visits end with the process, as faults do.
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
//	POST   /_sim/connectors?name=&last_day=   text/csv: a bank's file, see LoadFile → connector
//	POST   /_sim/connectors/health        connector, status: ONLINE, OFFLINE or UNSTABLE
//	POST   /_sim/webhooks                 a Mischief
//	POST   /_sim/webhooks/forge           client, body (any JSON), headers (bool): sends body to the client's webhooks, with
//	                                      their headers or without
//	POST   /_sim/clock                    advance_seconds → now
const Control = provider.ControlPath

func (s *Server) controlRoutes() {
	s.core.ControlRoutes()
	s.core.Mux.HandleFunc("GET "+Control+"items", s.listItems)
	s.core.ControlFile("connectors", func(f *bankfile.File, name string, lastDay time.Time) (map[string]any, error) {
		c, err := s.bank.LoadFile(f, name, lastDay)
		if err != nil {
			return nil, err
		}
		return map[string]any{"connector": c.ID}, nil
	})
	s.rowControls()
	s.accountControls()
	s.itemControls()
	s.serverControls()
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
	provider.Control(s.core, "transactions", func(in add) (map[string]any, error) {
		rows, err := s.bank.Add(in.Account, in.Transactions...)
		return map[string]any{"rows": rows}, err
	})
	type amend struct {
		byRowID
		Amendment
	}
	provider.Control(s.core, "transactions/amend", func(in amend) (map[string]any, error) {
		return nil, s.bank.Amend(in.byRowID.ID, in.Amendment)
	})
	provider.Control(s.core, "transactions/vanish", func(in byRowID) (map[string]any, error) { return nil, s.bank.Vanish(in.ID) })
	provider.Control(s.core, "transactions/return", func(in byRowID) (map[string]any, error) { return nil, s.bank.Return(in.ID) })
	provider.Control(s.core, "transactions/churn", func(in byRowID) (map[string]any, error) { return nil, s.bank.Churn(in.ID) })
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
	provider.Control(s.core, "accounts/open", func(in AccountRequest) (map[string]any, error) {
		id, err := s.bank.OpenAccount(in.Connector, in.User, Holding{
			Name: in.Name, Number: in.Number, Type: in.Type, Subtype: in.Subtype, Currency: in.Currency, Opening: in.Balance,
		})
		return map[string]any{"account": id}, err
	})
	type balance struct {
		byAccount
		Balance decimal.Decimal `json:"balance"`
	}
	provider.Control(s.core, "accounts/balance", func(in balance) (map[string]any, error) { return nil, s.bank.SetBalance(in.Account, in.Balance) })
	provider.Control(s.core, "accounts/close", func(in byAccount) (map[string]any, error) { return nil, s.bank.CloseAccount(in.Account) })
	provider.Control(s.core, "accounts/churn", func(in byAccount) (map[string]any, error) { return nil, s.bank.ChurnAccount(in.Account) })
	type health struct {
		Connector int    `json:"connector"`
		Status    string `json:"status"`
	}
	provider.Control(s.core, "connectors/health", func(in health) (map[string]any, error) { return nil, s.bank.SetHealth(in.Connector, in.Status) })
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
	provider.Control(s.core, "connect", func(in connect) (map[string]any, error) {
		id, status, err := s.connect(s.bank, in.ConnectToken, Visit{
			Connector: in.Connector, User: in.User, Password: in.Password, CPF: in.CPF, MFA: in.MFA, Deny: in.Deny,
		})
		return map[string]any{"item_id": id, "status": status}, err
	})
	type fail struct {
		byItemID
		Status          string `json:"status"`
		ProviderMessage string `json:"provider_message"`
	}
	provider.Control(s.core, "items/fail", func(in fail) (map[string]any, error) {
		return nil, s.bank.Fail(in.ItemID, in.Status, in.ProviderMessage)
	})
	provider.Control(s.core, "items/repair", func(in byItemID) (map[string]any, error) { return nil, s.bank.Repair(in.ItemID) })
	provider.Control(s.core, "items/sync", func(in byItemID) (map[string]any, error) { return nil, s.bank.Sync(in.ItemID) })
	provider.Control(s.core, "items/revoke", func(in byItemID) (map[string]any, error) { return nil, s.bank.Revoke(in.ItemID) })
	provider.Control(s.core, "items/discontinue", func(in byItemID) (map[string]any, error) { return nil, s.bank.Discontinue(in.ItemID) })
	type consent struct {
		byItemID
		Expires time.Time `json:"expires"`
	}
	provider.Control(s.core, "items/consent", func(in consent) (map[string]any, error) { return nil, s.bank.ExpireConsent(in.ItemID, in.Expires) })
}

func (s *Server) serverControls() {
	provider.Control(s.core, "webhooks", func(in Mischief) (map[string]any, error) {
		s.hooks.mischief = in
		return nil, nil
	})
	type forgery struct {
		Client  string         `json:"client"`
		Body    jsontext.Value `json:"body"`
		Headers bool           `json:"headers"`
	}
	provider.Control(s.core, "webhooks/forge", func(in forgery) (map[string]any, error) {
		sent := 0
		for _, w := range s.hooks.sorted() {
			if w.Client == in.Client && w.Disabled.IsZero() {
				sent++
				s.hooks.forge(w, in.Body, in.Headers)
			}
		}
		return map[string]any{"sent": sent}, nil
	})
	type clock struct {
		Seconds int64 `json:"advance_seconds"`
	}
	provider.Control(s.core, "clock", func(in clock) (map[string]any, error) {
		if in.Seconds < 0 {
			return nil, fmt.Errorf("the clock does not go back")
		}
		s.core.Advance(time.Duration(in.Seconds) * time.Second)
		return map[string]any{"now": s.bank.now()}, nil
	})
}

// forge sends a body of somebody else's to a webhook.
func (h *hooks) forge(w *subscription, body []byte, headers bool) {
	target := w.ID
	if !headers {
		target = ""
	}
	h.add(Event{ID: uuid.NewString(), Name: "forged"}, w.URL, target, bytes.TrimSpace(body))
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
	s.core.Lock()
	defer s.core.Unlock()
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
			"client": it.client, "user": it.parameters["user"], "item": s.bank.itemJSON(it, s.core.Base(r)), "accounts": accounts,
		})
	}
	s.core.Write(w, http.StatusOK, map[string]any{"items": list})
}
