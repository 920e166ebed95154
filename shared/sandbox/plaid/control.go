package plaid

import (
	"fmt"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/bkper/automations-portal/shared/sandbox/provider"
	"github.com/shopspring/decimal"
)

// Control is the path of the control interface, with these controls beside those of every provider (see
// provider.ControlPath). An account is named by its account_id or its bank account id, a row by its row id or any
// transaction_id. Forced mutations end with the process, as faults do.
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
//	POST   /_sim/institutions?name=&last_day=   text/csv: a bank's file, see LoadFile → institution_id
//	POST   /_sim/webhooks                 a Mischief
//	POST   /_sim/keys                     expire, rotate: of the key that signs webhooks → key_id
//	POST   /_sim/clock                    advance_seconds: the bank's clock, not that of the signatures → now
const Control = provider.ControlPath

func (s *Server) controlRoutes() {
	s.core.ControlRoutes()
	s.core.Mux.HandleFunc("GET "+Control+"items", s.listItems)
	s.core.ControlFile("institutions", func(f *bankfile.File, name string, lastDay time.Time) (map[string]any, error) {
		i, err := s.bank.LoadFile(f, name, lastDay)
		if err != nil {
			return nil, err
		}
		return map[string]any{"institution_id": i.ID}, nil
	})
	s.rowControls()
	s.accountControls()
	s.itemControls()
	s.serverControls()
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
	provider.Control(s.core, "transactions", func(in add) (map[string]any, error) {
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
	provider.Control(s.core, "transactions/settle", func(in settle) (map[string]any, error) {
		row, err := s.bank.Settle(in.ID, in.Settlement)
		return map[string]any{"row": row}, err
	})
	type amend struct {
		byRowID
		Amendment
	}
	provider.Control(s.core, "transactions/amend", func(in amend) (map[string]any, error) { return nil, s.bank.Amend(in.ID, in.Amendment) })
	provider.Control(s.core, "transactions/vanish", func(in byRowID) (map[string]any, error) { return nil, s.bank.Vanish(in.ID) })
	provider.Control(s.core, "transactions/return", func(in byRowID) (map[string]any, error) { return nil, s.bank.Return(in.ID) })
	provider.Control(s.core, "transactions/churn", func(in byRowID) (map[string]any, error) { return nil, s.bank.Churn(in.ID) })
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
	provider.Control(s.core, "accounts/open", func(in open) (map[string]any, error) {
		id, err := s.bank.OpenAccount(in.InstitutionID, in.User, Holding{
			Name: in.Name, Mask: in.Mask, Type: in.Type, Subtype: in.Subtype, Currency: in.Currency, Current: in.Balance,
		})
		return map[string]any{"account": id}, err
	})
	type closing struct {
		Account string `json:"account"`
	}
	provider.Control(s.core, "accounts/close", func(in closing) (map[string]any, error) { return nil, s.bank.CloseAccount(in.Account) })
	type revoke struct {
		AccountID string `json:"account_id"`
		Silent    bool   `json:"silent"`
	}
	provider.Control(s.core, "accounts/revoke", func(in revoke) (map[string]any, error) {
		return nil, s.bank.RevokeAccount(in.AccountID, in.Silent)
	})
	type reissue struct {
		AccountID string `json:"account_id"`
	}
	provider.Control(s.core, "accounts/reissue", func(in reissue) (map[string]any, error) {
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
	provider.Control(s.core, "items/fail", func(in fail) (map[string]any, error) { return nil, s.bank.Fail(in.ItemID, in.Code, in.Reason) })
	provider.Control(s.core, "items/repair", func(in byItemID) (map[string]any, error) { return nil, s.bank.Repair(in.ItemID) })
	provider.Control(s.core, "items/revoke", func(in byItemID) (map[string]any, error) { return nil, s.bank.Revoke(in.ItemID) })
	type consent struct {
		byItemID
		Expires time.Time `json:"expires"`
	}
	provider.Control(s.core, "items/consent", func(in consent) (map[string]any, error) {
		return nil, s.bank.ExpireConsent(in.ItemID, in.Expires)
	})
	type load struct {
		byItemID
		Status Status `json:"status"`
	}
	provider.Control(s.core, "items/load", func(in load) (map[string]any, error) { return nil, s.bank.Load(in.ItemID, in.Status) })
	type mutate struct {
		byItemID
		Times int `json:"times"`
	}
	provider.Control(s.core, "items/mutate", func(in mutate) (map[string]any, error) { return nil, s.bank.ForceMutation(in.ItemID, in.Times) })
}

func (s *Server) serverControls() {
	provider.Control(s.core, "webhooks", func(in Mischief) (map[string]any, error) {
		s.hooks.mischief = in
		return nil, nil
	})
	type keys struct {
		Expire bool `json:"expire"`
		Rotate bool `json:"rotate"`
	}
	provider.Control(s.core, "keys", func(in keys) (map[string]any, error) {
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
	type clock struct {
		Seconds int64 `json:"advance_seconds"`
	}
	provider.Control(s.core, "clock", func(in clock) (map[string]any, error) {
		s.core.Advance(time.Duration(in.Seconds) * time.Second)
		return map[string]any{"now": s.bank.now()}, nil
	})
}

func (s *Server) listItems(w http.ResponseWriter, _ *http.Request) {
	s.core.Lock()
	list := []map[string]any{}
	for _, it := range s.bank.sortedItems() {
		v := s.bank.itemView(it)
		list = append(list, map[string]any{
			"item_id": v.ID, "institution_id": v.Institution, "user": v.User, "status": v.Status, "error": v.Error.body(),
			"webhook": v.Webhook, "exchanged": it.access != "", "accounts": accountsJSON(it.show()),
		})
	}
	s.core.Unlock()
	s.core.Write(w, http.StatusOK, map[string]any{"items": list})
}
