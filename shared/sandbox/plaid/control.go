package plaid

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/shopspring/decimal"
)

// The control interface scripts the bank from another process. It needs no credentials and is not Plaid's. Each POST takes
// a JSON object (application/json, so that no foreign web page can send it) and answers a JSON object; what cannot be done
// is 400 with {"error": …}. An account is named by its account_id or its bank account id, a row by its row id or any
// transaction_id. What changes is announced by webhooks at once. Faults, mischief and forced mutations end with the process;
// everything else outlives it.
//
//	GET    /_sim/items                    every Item with its accounts; no tokens
//	POST   /_sim/transactions             account, transactions: [Row…] → rows: [row id…]
//	POST   /_sim/transactions/settle      id, and a Settlement → row
//	POST   /_sim/transactions/amend       id, and an Amendment
//	POST   /_sim/transactions/vanish      id
//	POST   /_sim/transactions/return      id
//	POST   /_sim/transactions/churn       id
//	POST   /_sim/accounts/open            institution_id, user, name, mask, type, subtype, currency, balance → account
//	POST   /_sim/accounts/close           account
//	POST   /_sim/accounts/revoke          account_id, silent
//	POST   /_sim/accounts/reissue         account_id → account_id
//	POST   /_sim/items/fail               item_id, code, reason
//	POST   /_sim/items/repair             item_id
//	POST   /_sim/items/revoke             item_id
//	POST   /_sim/items/consent            item_id, expires (RFC 3339)
//	POST   /_sim/items/load               item_id, status
//	POST   /_sim/items/mutate             item_id, times: pages after a first one that fail with the mutation error
//	POST   /_sim/institutions?name=&last_day=   text/csv: a bank's file, see LoadCSV → institution_id
//	GET    /_sim/webhooks                 waiting, and the last deliveries
//	POST   /_sim/webhooks                 a Mischief
//	POST   /_sim/keys                     expire, rotate: of the key that signs webhooks → key_id
//	POST   /_sim/faults                   a Fault
//	DELETE /_sim/faults                   ends all faults
//	POST   /_sim/clock                    advance_seconds: the bank's clock, not that of the signatures → now
func (s *Server) controlRoutes() {
	s.mux.HandleFunc("GET /_sim/items", s.listItems)
	s.mux.HandleFunc("GET /_sim/webhooks", s.listWebhooks)
	s.mux.HandleFunc("POST /_sim/institutions", s.takeCSV)
	s.mux.HandleFunc("DELETE /_sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		s.write(w, http.StatusOK, struct{}{})
	})
	s.rowControls()
	s.accountControls()
	s.itemControls()
	s.serverControls()
}

// control registers a POST; f runs with s.mu held and returns the members of the answer.
func control[In any](s *Server, path string, f func(in In) (map[string]any, error)) {
	s.mux.HandleFunc("POST /_sim/"+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		out := map[string]any{}
		err := readControl(w, r, &in)
		if err == nil {
			err = s.Do(func(*Bank) error {
				more, err := f(in)
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

type byItemID struct {
	ItemID string `json:"item_id"`
}

type byRowID struct {
	ID string `json:"id"`
}

func (s *Server) rowControls() {
	type add struct {
		Account      string `json:"account"`
		Transactions []Row  `json:"transactions"`
	}
	control(s, "transactions", func(in add) (map[string]any, error) {
		for _, r := range in.Transactions {
			if r.Date != "" && dateOnly(r.Date) != nil {
				return nil, fmt.Errorf("date %q is not YYYY-MM-DD", r.Date)
			}
		}
		rows, err := s.bank.Add(in.Account, in.Transactions...)
		return map[string]any{"rows": rows}, err
	})
	type settle struct {
		byRowID
		Settlement
	}
	control(s, "transactions/settle", func(in settle) (map[string]any, error) {
		row, err := s.bank.Settle(in.ID, in.Settlement)
		return map[string]any{"row": row}, err
	})
	type amend struct {
		byRowID
		Amendment
	}
	control(s, "transactions/amend", func(in amend) (map[string]any, error) { return nil, s.bank.Amend(in.ID, in.Amendment) })
	control(s, "transactions/vanish", func(in byRowID) (map[string]any, error) { return nil, s.bank.Vanish(in.ID) })
	control(s, "transactions/return", func(in byRowID) (map[string]any, error) { return nil, s.bank.Return(in.ID) })
	control(s, "transactions/churn", func(in byRowID) (map[string]any, error) { return nil, s.bank.Churn(in.ID) })
}

func (s *Server) accountControls() {
	type open struct {
		InstitutionID string          `json:"institution_id"`
		User          string          `json:"user"`
		Name          string          `json:"name"`
		Mask          string          `json:"mask"`
		Type          string          `json:"type"`
		Subtype       string          `json:"subtype"`
		Currency      string          `json:"currency"`
		Balance       decimal.Decimal `json:"balance"`
	}
	control(s, "accounts/open", func(in open) (map[string]any, error) {
		id, err := s.bank.OpenAccount(in.InstitutionID, in.User, Holding{
			Name: in.Name, Mask: in.Mask, Type: in.Type, Subtype: in.Subtype, Currency: in.Currency, Current: in.Balance,
		})
		return map[string]any{"account": id}, err
	})
	type closing struct {
		Account string `json:"account"`
	}
	control(s, "accounts/close", func(in closing) (map[string]any, error) { return nil, s.bank.CloseAccount(in.Account) })
	type revoke struct {
		AccountID string `json:"account_id"`
		Silent    bool   `json:"silent"`
	}
	control(s, "accounts/revoke", func(in revoke) (map[string]any, error) {
		return nil, s.bank.RevokeAccount(in.AccountID, in.Silent)
	})
	type reissue struct {
		AccountID string `json:"account_id"`
	}
	control(s, "accounts/reissue", func(in reissue) (map[string]any, error) {
		id, err := s.bank.ReissueAccount(in.AccountID)
		return map[string]any{"account_id": id}, err
	})
}

func (s *Server) itemControls() {
	type fail struct {
		byItemID
		Code   string `json:"code"`
		Reason string `json:"reason"`
	}
	control(s, "items/fail", func(in fail) (map[string]any, error) { return nil, s.bank.Fail(in.ItemID, in.Code, in.Reason) })
	control(s, "items/repair", func(in byItemID) (map[string]any, error) { return nil, s.bank.Repair(in.ItemID) })
	control(s, "items/revoke", func(in byItemID) (map[string]any, error) { return nil, s.bank.Revoke(in.ItemID) })
	type consent struct {
		byItemID
		Expires time.Time `json:"expires"`
	}
	control(s, "items/consent", func(in consent) (map[string]any, error) {
		return nil, s.bank.ExpireConsent(in.ItemID, in.Expires)
	})
	type load struct {
		byItemID
		Status Status `json:"status"`
	}
	control(s, "items/load", func(in load) (map[string]any, error) { return nil, s.bank.Load(in.ItemID, in.Status) })
	type mutate struct {
		byItemID
		Times int `json:"times"`
	}
	control(s, "items/mutate", func(in mutate) (map[string]any, error) { return nil, s.bank.ForceMutation(in.ItemID, in.Times) })
}

func (s *Server) serverControls() {
	control(s, "webhooks", func(in Mischief) (map[string]any, error) {
		s.hooks.mischief = in
		return nil, nil
	})
	type keys struct {
		Expire bool `json:"expire"`
		Rotate bool `json:"rotate"`
	}
	control(s, "keys", func(in keys) (map[string]any, error) {
		if in.Expire {
			s.hooks.expire(time.Now())
		}
		if in.Rotate {
			if err := s.hooks.rotate(time.Now()); err != nil {
				return nil, err
			}
		}
		return map[string]any{"key_id": s.hooks.keys[len(s.hooks.keys)-1].ID}, nil
	})
	control(s, "faults", func(in Fault) (map[string]any, error) {
		s.faults = append(s.faults, &in)
		return nil, nil
	})
	type clock struct {
		Seconds int64 `json:"advance_seconds"`
	}
	control(s, "clock", func(in clock) (map[string]any, error) {
		s.skew += time.Duration(in.Seconds) * time.Second
		s.hooks.dirty["clock/skew"] = s.skew
		s.bank.Tick()
		return map[string]any{"now": s.bank.now()}, nil
	})
}

func (s *Server) listItems(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	list := []map[string]any{}
	for _, it := range s.bank.sortedItems() {
		v := s.bank.itemView(it)
		list = append(list, map[string]any{
			"item_id": v.ID, "institution_id": v.Institution, "user": v.User, "status": v.Status, "error": v.Error.body(),
			"webhook": v.Webhook, "exchanged": it.access != "", "accounts": accountsJSON(it.show()),
		})
	}
	s.mu.Unlock()
	s.write(w, http.StatusOK, map[string]any{"items": list})
}

func (s *Server) listWebhooks(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	out := map[string]any{"waiting": len(s.hooks.queue), "deliveries": append([]Delivered{}, s.hooks.record...)}
	s.mu.Unlock()
	s.write(w, http.StatusOK, out)
}

func (s *Server) takeCSV(w http.ResponseWriter, r *http.Request) {
	out := map[string]any{}
	err := func() error {
		last, err := time.Parse(time.DateOnly, r.URL.Query().Get("last_day"))
		if err != nil {
			return errors.New("last_day must be YYYY-MM-DD")
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "text/csv" {
			return errors.New("the body must be text/csv")
		}
		statement, err := ReadCSV(r.Body)
		if err != nil {
			return err
		}
		return s.Do(func(b *Bank) error {
			i, err := b.LoadStatement(statement, r.URL.Query().Get("name"), last)
			if err == nil {
				out["institution_id"] = i.ID
			}
			return err
		})
	}()
	if err != nil {
		s.write(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	s.write(w, http.StatusOK, out)
}
