package app

import (
	"github.com/bkper/automations-portal/shared/bank"
	"github.com/bkper/automations-portal/shared/caller"
	"github.com/bkper/automations-portal/shared/ledger/bkper"
	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/vault"
)

// What follows is for operators' programs, which need parts without a function around them.

// Store opens the documents.
func (a *App) Store() (store.Store, error) { return a.store() }

// Vault opens the tokens.
func (a *App) Vault() (vault.Vault, error) { return a.vault() }

// Banks gives the providers by name.
func (a *App) Banks() (map[string]bank.Provider, error) { return a.banks() }

// Books gives the Books, and the grants with which they are opened.
func (a *App) Books() (*bkper.Client, *caller.Grants, error) {
	v, err := a.vault()
	if err != nil {
		return nil, nil, err
	}
	b, err := a.books()
	return b, a.grants(v), err
}
