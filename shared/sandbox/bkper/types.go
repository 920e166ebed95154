package bkper

import "encoding/json"

// The JSON shapes of the API. All fields are optional; times are text of epoch milliseconds; maps hold text. A nil
// pointer is null: not said.

// AccountType is the nature of an Account or group.
type AccountType string

// The types of Accounts.
const (
	Asset     AccountType = "ASSET"
	Liability AccountType = "LIABILITY"
	Incoming  AccountType = "INCOMING"
	Outgoing  AccountType = "OUTGOING"
)

// Account is an Account of a Book.
type Account struct {
	AgentID              string            `json:"agentId,omitempty"`
	Archived             *bool             `json:"archived,omitempty"`
	Balance              string            `json:"balance,omitempty"` // credits − debits, whatever the type
	BalanceVerified      *bool             `json:"balanceVerified,omitempty"`
	CreatedAt            string            `json:"createdAt,omitempty"`
	Credit               *bool             `json:"credit,omitempty"`
	Groups               []Group           `json:"groups,omitempty"`
	HasTransactionPosted *bool             `json:"hasTransactionPosted,omitempty"`
	ID                   string            `json:"id,omitempty"`
	Name                 string            `json:"name,omitempty"`
	NormalizedName       string            `json:"normalizedName,omitempty"`
	Permanent            *bool             `json:"permanent,omitempty"`
	Properties           map[string]string `json:"properties,omitempty"`
	Type                 AccountType       `json:"type,omitempty"`
	UpdatedAt            string            `json:"updatedAt,omitempty"`
}

// Group gathers Accounts.
type Group struct {
	AgentID        string            `json:"agentId,omitempty"`
	CreatedAt      string            `json:"createdAt,omitempty"`
	Credit         *bool             `json:"credit,omitempty"`
	HasAccounts    *bool             `json:"hasAccounts,omitempty"`
	HasGroups      *bool             `json:"hasGroups,omitempty"`
	Hidden         *bool             `json:"hidden,omitempty"`
	ID             string            `json:"id,omitempty"`
	Locked         *bool             `json:"locked,omitempty"`
	Mixed          *bool             `json:"mixed,omitempty"`
	Name           string            `json:"name,omitempty"`
	NormalizedName string            `json:"normalizedName,omitempty"`
	Parent         *Group            `json:"parent,omitempty"`
	Permanent      *bool             `json:"permanent,omitempty"`
	Properties     map[string]string `json:"properties,omitempty"`
	Type           AccountType       `json:"type,omitempty"`
	UpdatedAt      string            `json:"updatedAt,omitempty"`
}

// App is an app or bot that can be installed on Books.
type App struct {
	APIVersion       string          `json:"apiVersion,omitempty"`
	ClientID         string          `json:"clientId,omitempty"`
	ClientSecret     string          `json:"clientSecret,omitempty"`
	Connectable      *bool           `json:"connectable,omitempty"`
	Deprecated       *bool           `json:"deprecated,omitempty"`
	Description      string          `json:"description,omitempty"`
	Developers       string          `json:"developers,omitempty"`
	Events           []string        `json:"events,omitempty"`
	FilePatterns     []string        `json:"filePatterns,omitempty"`
	ID               string          `json:"id,omitempty"`
	Installable      *bool           `json:"installable,omitempty"`
	LogoURL          string          `json:"logoUrl,omitempty"`
	LogoURLDark      string          `json:"logoUrlDark,omitempty"`
	MenuOpenMode     string          `json:"menuOpenMode,omitempty"`
	MenuPopupHeight  string          `json:"menuPopupHeight,omitempty"`
	MenuPopupWidth   string          `json:"menuPopupWidth,omitempty"`
	MenuText         string          `json:"menuText,omitempty"`
	MenuURL          string          `json:"menuUrl,omitempty"`
	MenuURLDev       string          `json:"menuUrlDev,omitempty"`
	Name             string          `json:"name,omitempty"`
	OwnerEmail       string          `json:"ownerEmail,omitempty"`
	OwnerID          string          `json:"ownerId,omitempty"`
	OwnerLogoURL     string          `json:"ownerLogoUrl,omitempty"`
	OwnerName        string          `json:"ownerName,omitempty"`
	OwnerWebsite     string          `json:"ownerWebsite,omitempty"`
	PropertiesSchema json.RawMessage `json:"propertiesSchema,omitempty"`
	Published        *bool           `json:"published,omitempty"`
	Readme           string          `json:"readme,omitempty"`
	ReadmeMd         string          `json:"readmeMd,omitempty"`
	RepoPrivate      *bool           `json:"repoPrivate,omitempty"`
	RepoURL          string          `json:"repoUrl,omitempty"`
	Scopes           []string        `json:"scopes,omitempty"`
	Users            string          `json:"users,omitempty"`
	WebhookURL       string          `json:"webhookUrl,omitempty"`
	WebhookURLDev    string          `json:"webhookUrlDev,omitempty"`
	Website          string          `json:"website,omitempty"`
}

// Book is a ledger, as one collaborator sees it.
type Book struct {
	Accounts                     []Account         `json:"accounts,omitempty"`
	AgentID                      string            `json:"agentId,omitempty"`
	AutoPost                     *bool             `json:"autoPost,omitempty"`
	ClosingDate                  string            `json:"closingDate,omitempty"` // yyyy-MM-dd; 1900-00-00 clears
	Collection                   json.RawMessage   `json:"collection,omitempty"`
	CreatedAt                    string            `json:"createdAt,omitempty"`
	DatePattern                  string            `json:"datePattern,omitempty"`
	DecimalSeparator             string            `json:"decimalSeparator,omitempty"`
	FractionDigits               *int              `json:"fractionDigits,omitempty"`
	Groups                       []Group           `json:"groups,omitempty"`
	ID                           string            `json:"id,omitempty"`
	LastUpdateMs                 string            `json:"lastUpdateMs,omitempty"`
	LockDate                     string            `json:"lockDate,omitempty"` // yyyy-MM-dd; 1900-00-00 clears
	LogoURL                      string            `json:"logoUrl,omitempty"`
	Name                         string            `json:"name,omitempty"`
	OwnerName                    string            `json:"ownerName,omitempty"`
	PageSize                     int               `json:"pageSize,omitempty"`
	Period                       string            `json:"period,omitempty"`
	PeriodStartMonth             string            `json:"periodStartMonth,omitempty"`
	Permission                   Permission        `json:"permission,omitempty"`
	Properties                   map[string]string `json:"properties,omitempty"`
	TimeZone                     string            `json:"timeZone,omitempty"`
	TimeZoneOffset               *int              `json:"timeZoneOffset,omitempty"`
	TotalTransactions            json.RawMessage   `json:"totalTransactions,omitempty"`
	TotalTransactionsCurrentMon  json.RawMessage   `json:"totalTransactionsCurrentMonth,omitempty"`
	TotalTransactionsCurrentYear json.RawMessage   `json:"totalTransactionsCurrentYear,omitempty"`
	UpdatedAt                    string            `json:"updatedAt,omitempty"`
	Visibility                   string            `json:"visibility,omitempty"`
}

// Collaborator is a person's permission in a Book.
type Collaborator struct {
	AgentID    string     `json:"agentId,omitempty"`
	AvatarURL  string     `json:"avatarUrl,omitempty"`
	CreatedAt  string     `json:"createdAt,omitempty"`
	Email      string     `json:"email,omitempty"`
	ID         string     `json:"id,omitempty"`
	Permission Permission `json:"permission,omitempty"`
	UpdatedAt  string     `json:"updatedAt,omitempty"`
}

// Connection is a user's authorisation of an app or bank.
type Connection struct {
	AgentID     string            `json:"agentId,omitempty"`
	CreatedAt   string            `json:"createdAt,omitempty"`
	DateAddedMs string            `json:"dateAddedMs,omitempty"`
	Email       string            `json:"email,omitempty"`
	ID          string            `json:"id,omitempty"`
	Logo        string            `json:"logo,omitempty"`
	Name        string            `json:"name,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Type        string            `json:"type,omitempty"` // APP or BANK
	UpdatedAt   string            `json:"updatedAt,omitempty"`
	UserID      string            `json:"userId,omitempty"`
	UUID        string            `json:"uuid,omitempty"`
}

// Count is a number of transactions.
type Count struct {
	Total json.RawMessage `json:"total"`
}

// Event is something that happened in a Book, without the resource itself.
type Event struct {
	Agent     *Agent `json:"agent,omitempty"`
	BookID    string `json:"bookId,omitempty"`
	CreatedAt string `json:"createdAt,omitempty"`
	ID        string `json:"id,omitempty"`
	Resource  string `json:"resource,omitempty"`
	Type      string `json:"type,omitempty"`
	User      *User  `json:"user,omitempty"`
}

// Agent is the app, bot or bank through which something was done.
type Agent struct {
	ID       string `json:"id,omitempty"`
	Logo     string `json:"logo,omitempty"`
	LogoDark string `json:"logoDark,omitempty"`
	Name     string `json:"name,omitempty"`
}

// File is a file attached to a transaction.
type File struct {
	AgentID     string            `json:"agentId,omitempty"`
	Content     string            `json:"content,omitempty"`
	ContentType string            `json:"contentType,omitempty"`
	CreatedAt   string            `json:"createdAt,omitempty"`
	ID          string            `json:"id,omitempty"`
	Name        string            `json:"name,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Size        json.RawMessage   `json:"size,omitempty"`
	UpdatedAt   string            `json:"updatedAt,omitempty"`
	URL         string            `json:"url,omitempty"`
}

// Integration is the use of an app or a Connection on a Book.
type Integration struct {
	AddedBy        string            `json:"addedBy,omitempty"`
	AgentID        string            `json:"agentId,omitempty"`
	BookID         string            `json:"bookId,omitempty"`
	ConnectionID   string            `json:"connectionId,omitempty"`
	CreatedAt      string            `json:"createdAt,omitempty"`
	DateAddedMs    string            `json:"dateAddedMs,omitempty"`
	ID             string            `json:"id,omitempty"`
	LastUpdateMs   string            `json:"lastUpdateMs,omitempty"`
	Logo           string            `json:"logo,omitempty"`
	LogoDark       string            `json:"logoDark,omitempty"`
	Name           string            `json:"name,omitempty"`
	NormalizedName string            `json:"normalizedName,omitempty"`
	Properties     map[string]string `json:"properties,omitempty"`
	UpdatedAt      string            `json:"updatedAt,omitempty"`
	UserID         string            `json:"userId,omitempty"`
}

// List is any list of the API. Without items it is {}.
type List[T any] struct {
	Items []T `json:"items,omitempty"`
}

// Transaction is a record of a Book.
type Transaction struct {
	AgentID       string            `json:"agentId,omitempty"`
	AgentLogo     string            `json:"agentLogo,omitempty"`
	AgentLogoDark string            `json:"agentLogoDark,omitempty"`
	AgentName     string            `json:"agentName,omitempty"`
	Amount        *string           `json:"amount,omitempty"` // a magnitude with a decimal point
	Checked       *bool             `json:"checked,omitempty"`
	CreatedAt     string            `json:"createdAt,omitempty"`
	CreatedBy     string            `json:"createdBy,omitempty"`
	CreditAccount *Account          `json:"creditAccount,omitempty"` // where the money leaves
	Date          string            `json:"date,omitempty"`          // yyyy-MM-dd
	DateFormatted string            `json:"dateFormatted,omitempty"`
	DateValue     int               `json:"dateValue,omitempty"`    // YYYYMMDD
	DebitAccount  *Account          `json:"debitAccount,omitempty"` // where the money arrives
	Description   string            `json:"description,omitempty"`
	Draft         *bool             `json:"draft,omitempty"` // sent as true: never post automatically
	Files         []File            `json:"files,omitempty"`
	ID            string            `json:"id,omitempty"`
	Posted        *bool             `json:"posted,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
	RemoteIDs     []string          `json:"remoteIds,omitempty"`
	Tags          []string          `json:"tags,omitempty"`
	Trashed       *bool             `json:"trashed,omitempty"`
	UpdatedAt     string            `json:"updatedAt,omitempty"`
	URLs          []string          `json:"urls,omitempty"`
}

// TransactionList is a page of transactions.
type TransactionList struct {
	Account string        `json:"account,omitempty"` // id, where one Account was asked for
	Cursor  string        `json:"cursor,omitempty"`  // of the next page; absent on the last
	Items   []Transaction `json:"items,omitempty"`
}

// TransactionOperation answers a change of one transaction.
type TransactionOperation struct {
	Accounts    []Account    `json:"accounts,omitempty"` // touched, with their new balances
	Transaction *Transaction `json:"transaction,omitempty"`
}

// User is a person.
type User struct {
	AvatarURL       string `json:"avatarUrl,omitempty"`
	BankConnections bool   `json:"bankConnections,omitempty"` // has or had one
	Email           string `json:"email,omitempty"`
	Free            bool   `json:"free,omitempty"`
	FullName        string `json:"fullName,omitempty"`
	GivenName       string `json:"givenName,omitempty"`
	HostedDomain    string `json:"hostedDomain,omitempty"`
	ID              string `json:"id,omitempty"`
	Name            string `json:"name,omitempty"`
	Username        string `json:"username,omitempty"`
}

// True reports whether a boolean was said and is true.
func True(b *bool) bool { return b != nil && *b }
