package pluggy

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Health of a connector.
const (
	Online   = "ONLINE"
	Offline  = "OFFLINE"
	Unstable = "UNSTABLE"
)

// Types of connectors that have accounts.
const (
	personal = "PERSONAL_BANK"
	business = "BUSINESS_BANK"
)

// meuPluggy is the connector that lends a person's own items; it behaves unlike all others.
const meuPluggy = 200

// Credential is what a connector asks its user for.
type Credential struct {
	Label             string `json:"label"`
	Name              string `json:"name"`
	Type              string `json:"type"`
	Placeholder       string `json:"placeholder"`
	Validation        string `json:"validation,omitempty"`
	ValidationMessage string `json:"validationMessage,omitempty"`
	MFA               bool   `json:"mfa,omitempty"`
	Optional          bool   `json:"optional"`
}

// Connector is a bank as Pluggy lists it.
type Connector struct {
	ID           int          `json:"id"`
	Name         string       `json:"name"`
	Colour       string       `json:"primaryColor"` // rrggbb, without a #
	URL          string       `json:"institutionUrl"`
	Type         string       `json:"type"`
	Credentials  []Credential `json:"credentials"`
	MFA          bool         `json:"hasMFA"`
	OAuth        bool         `json:"oauth"`
	Sandbox      bool         `json:"isSandbox"`
	OpenFinance  bool         `json:"isOpenFinance"`
	Products     []string     `json:"products"`
	TwoSteps     bool         `json:"-"` // the second factor is asked for while the item is being made
	Installments string       `json:"-"` // how the bank tells of instalments; see history
	own          bool         // added by the caller; only customers that were added exist there
}

func userAndPassword() []Credential {
	return []Credential{
		{Label: "Usuário", Name: "user", Type: "text", Placeholder: "user-ok", Validation: `^.{2,60}$`, ValidationMessage: "O usuário deve ter entre 2 e 60 caracteres"},
		{Label: "Senha", Name: "password", Type: "password", Placeholder: "password-ok", Validation: `^.{6,20}$`, ValidationMessage: "A senha deve ter entre 6 e 20 caracteres"},
	}
}

func documentOf(kind string) []Credential {
	if kind == business {
		return []Credential{{Label: "CNPJ", Name: "cnpj", Type: "number", Validation: `^\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}$`, ValidationMessage: "CNPJ deve ter 14 números."}}
	}
	return []Credential{{Label: "CPF", Name: "cpf", Type: "number", Validation: `^\d{3}\.?\d{3}\.?\d{3}-?\d{2}$`, ValidationMessage: "CPF deve ter 11 números."}}
}

var token = Credential{Label: "Token", Name: "token", Type: "number", Placeholder: "123456", Validation: `^\d{6}$`, ValidationMessage: "O token deve ter 6 dígitos", MFA: true}

// pluggyBanks are Pluggy's own sandbox connectors.
var pluggyBanks = []Connector{
	{ID: 0, Name: "Pluggy Bank"},
	{ID: 1, Name: "Pluggy Bank MFA 1 step", MFA: true, Credentials: append(userAndPassword(), token)},
	{ID: 2, Name: "Pluggy Bank"},
	{ID: 3, Name: "Pluggy Bank MFA 2 steps", MFA: true, TwoSteps: true},
	{ID: 4, Name: "Pluggy Bank Business", Type: business},
	{ID: 5, Name: "Pluggy Bank MFA 2 steps select", MFA: true, TwoSteps: true},
	{ID: 8, Name: "Pluggy Bank Open Finance", OpenFinance: true},
}

// brazilian are well-known banks; the ids of those that the documents name are Pluggy's.
var brazilian = []Connector{
	{ID: 601, Name: "Itaú", Colour: "EC7000"},
	{ID: 602, Name: "XP", Colour: "0A0A0A", Installments: wholePurchase},
	{ID: 603, Name: "Bradesco", Colour: "CC092F", Installments: scheduledAhead},
	{ID: 605, Name: "Banco do Brasil", Colour: "003DA5"},
	{ID: 606, Name: "Caixa", Colour: "1C60AB"},
	{ID: 608, Name: "Santander", Colour: "CC0000"},
	{ID: 612, Name: "Nubank", Colour: "820AD1"},
	{ID: 613, Name: "Inter", Colour: "FF7A00"},
	{ID: 614, Name: "BTG Pactual", Colour: "001E61", Installments: allUpFront},
	{ID: 615, Name: "C6 Bank", Colour: "242424"},
	{ID: 651, Name: "Itaú Empresas", Colour: "EC7000", Type: business},
	{ID: 653, Name: "Bradesco Empresas", Colour: "CC092F", Type: business},
	{ID: 658, Name: "Santander Empresas", Colour: "CC0000", Type: business},
	{ID: 662, Name: "Nubank Empresas", Colour: "820AD1", Type: business},
}

// seeded returns the connectors that every Bank has, by id.
var seeded = sync.OnceValue(func() map[int]*Connector {
	all := map[int]*Connector{}
	for _, c := range pluggyBanks {
		c.Sandbox = true
		all[c.ID] = c.complete()
	}
	for _, c := range brazilian {
		c.OpenFinance = true
		all[c.ID] = c.complete()
	}
	mine := Connector{ID: meuPluggy, Name: "MeuPluggy", OAuth: true, Credentials: []Credential{}}
	all[meuPluggy] = mine.complete()
	return all
})

// complete fills in what follows from the rest.
func (c Connector) complete() *Connector {
	h := fnv.New32a()
	h.Write([]byte(c.Name))
	c.Colour = cmp.Or(c.Colour, fmt.Sprintf("%06X", h.Sum32()&0x7f7f7f|0x400000))
	c.Type = cmp.Or(c.Type, personal)
	c.URL = cmp.Or(c.URL, fmt.Sprintf("https://bank-%d.example", c.ID))
	c.OAuth = c.OAuth || c.OpenFinance
	if c.Credentials == nil {
		c.Credentials = userAndPassword()
		if c.OpenFinance {
			c.Credentials = documentOf(c.Type)
		}
	}
	if c.Products == nil {
		c.Products = []string{"ACCOUNTS", "CREDIT_CARDS", "TRANSACTIONS", "IDENTITY", "PAYMENT_DATA"}
	}
	return &c
}

func (b *Bank) connector(id int) (*Connector, error) {
	if c := cmp.Or(b.own[id], seeded()[id]); c != nil {
		return c, nil
	}
	return nil, notFound("CONNECTOR", "connector not found")
}

// AddConnector adds a bank whose customers are those of AddCustomer. It is an error if the id is taken.
func (b *Bank) AddConnector(c Connector) error {
	if _, err := b.connector(c.ID); err == nil {
		return fmt.Errorf("add connector: %d exists", c.ID)
	}
	added := c.complete()
	added.own = true
	b.own[c.ID] = added
	b.dirty.Touch(connectorDoc{*added, added.TwoSteps, added.Installments})
	return nil
}

// SetHealth makes a connector ONLINE, OFFLINE or UNSTABLE and says so by connector/status_updated.
func (b *Bank) SetHealth(id int, status string) error {
	if _, err := b.connector(id); err != nil {
		return err
	}
	if status != Online && status != Offline && status != Unstable {
		return fmt.Errorf("no health %q", status)
	}
	b.health[id] = status
	b.dirty.Touch(healthDoc{id, status})
	b.emitAll(Event{Name: "connector/status_updated", Fields: map[string]any{
		"id": fmt.Sprint(id), "connectorId": id, "data": map[string]any{"status": status},
	}})
	return nil
}

// Health is a connector's.
func (b *Bank) Health(id int) string { return cmp.Or(b.health[id], Online) }

// ConnectorQuery filters connectors; what is nil or empty does not filter.
type ConnectorQuery struct {
	Countries, Types []string
	Name             string
	Sandbox          bool // with Pluggy's sandbox connectors
	OpenFinance      *bool
}

// Connectors are those that match, by id.
func (b *Bank) Connectors(q ConnectorQuery) []*Connector {
	var list []*Connector
	add := func(c *Connector) {
		if q.matches(c) {
			list = append(list, c)
		}
	}
	for _, c := range seeded() {
		add(c)
	}
	for _, c := range b.own {
		add(c)
	}
	slices.SortFunc(list, func(x, y *Connector) int { return cmp.Compare(x.ID, y.ID) })
	return list
}

func (q ConnectorQuery) matches(c *Connector) bool {
	return (len(q.Countries) == 0 || slices.Contains(q.Countries, "BR")) &&
		(len(q.Types) == 0 || slices.Contains(q.Types, c.Type)) &&
		strings.Contains(strings.ToLower(c.Name), strings.ToLower(q.Name)) &&
		(q.Sandbox || !c.Sandbox) && (q.OpenFinance == nil || *q.OpenFinance == c.OpenFinance)
}

// validate checks parameters against what a connector asks for.
func (c *Connector) validate(parameters map[string]string) []Detail {
	wrong := []Detail{}
	for _, asked := range c.Credentials {
		given := parameters[asked.Name]
		if given == "" && !asked.Optional {
			wrong = append(wrong, Detail{"001", asked.Name + " parameter is required", asked.Name})
		} else if given != "" && asked.Validation != "" && !regexp.MustCompile(asked.Validation).MatchString(given) {
			wrong = append(wrong, Detail{"002", asked.ValidationMessage, asked.Name})
		}
	}
	return wrong
}

func invalidParameters(wrong []Detail) *Error {
	e := refuse(http.StatusBadRequest, "CONNECTOR_VALIDATION_ERROR", "Connector parameters do not match validation rules")
	e.Details = wrong
	return e
}

// Icon is a connector's logo, an SVG of 200 by 200 with the first letter of its name: drawn, not the bank's own.
func (c *Connector) Icon() []byte {
	letter, _ := utf8.DecodeRuneInString(c.Name)
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200" viewBox="0 0 200 200">`+
		`<rect width="200" height="200" rx="40" fill="#%s"/>`+
		`<text x="100" y="138" font-family="sans-serif" font-size="110" text-anchor="middle" fill="#fff">%s</text></svg>`,
		c.Colour, html.EscapeString(string(letter)))
}
