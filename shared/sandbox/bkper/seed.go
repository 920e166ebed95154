package bkper

import "fmt"

// seedBooks has one Book a currency, with different permissions for the two people, so that each case is at hand.
var seedBooks = []struct {
	currency   string
	digits     int
	bookkeeper Permission
	client     Permission
	autoPost   bool
	zone       string
}{
	{"USD", 2, Editor, Owner, false, "America/New_York"},
	{"EUR", 2, Editor, Owner, true, "Europe/Berlin"},
	{"BRL", 2, Owner, Editor, false, "America/Sao_Paulo"},
	{"GBP", 2, Owner, Viewer, true, "Europe/London"},
	{"CAD", 2, Owner, Poster, false, "America/Toronto"},
	{"JPY", 0, Owner, Recorder, false, "Asia/Tokyo"},
	{"CZK", 2, Editor, Owner, false, "Europe/Prague"},
	{"KWD", 3, Poster, Owner, false, "Asia/Kuwait"},
	{"AUD", 2, Owner, None, false, "Australia/Sydney"},
	{"CHF", 2, None, Owner, false, "Europe/Zurich"},
}

var seedAccounts = []struct {
	name  string
	kind  AccountType
	group string
}{
	{"Bank Account", Asset, "Assets"},
	{"Savings", Asset, "Assets"},
	{"Cash", Asset, "Assets"},
	{"Credit Card", Liability, "Liabilities"},
	{"Loan", Liability, "Liabilities"},
	{"Sales", Incoming, "Revenue"},
	{"Interest", Incoming, "Revenue"},
	{"Rent", Outgoing, "Expenses"},
	{"Groceries", Outgoing, "Expenses"},
	{"Travel", Outgoing, "Expenses"},
	{"Bank Fees", Outgoing, "Expenses"},
}

// SeedBookID returns the id of the seeded Book of a currency, such as "USD"; "" where there is none.
func SeedBookID(currency string) string {
	for i, b := range seedBooks {
		if b.currency == currency {
			return bookKey(int64(firstID) - int64(i) - 1)
		}
	}
	return ""
}

// Seed fills an empty Bkper with two people who share Books, one a currency, with the usual Accounts, and with a few apps
// and bots. A seeding cut short is finished by the next; after that everything is left as people made it.
func Seed(s *Service, client, bookkeeper User) error {
	for _, u := range []User{client, bookkeeper} {
		if err := s.AddUser(u); err != nil {
			return err
		}
	}
	s.mu.Lock()
	done := s.seeded
	s.mu.Unlock()
	if done {
		return nil
	}
	if err := s.seedApps(bookkeeper); err != nil {
		return err
	}
	for i, sb := range seedBooks {
		if err := s.seedBook(i, map[Permission]string{sb.bookkeeper: bookkeeper.Email, sb.client: client.Email}); err != nil {
			return fmt.Errorf("seed %s: %w", sb.currency, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeded = true
	return s.save(seedSpace, "done", true)
}

func (s *Service) seedBook(i int, people map[Permission]string) error {
	sb, owner := seedBooks[i], Caller{Email: people[Owner]}
	b, err := s.Book(owner, SeedBookID(sb.currency), true)
	if err != nil {
		b, err = s.CreateBook(owner, Book{
			ID: SeedBookID(sb.currency), Name: "Books in " + sb.currency, AutoPost: new(sb.autoPost), FractionDigits: new(sb.digits),
			TimeZone: sb.zone, Properties: map[string]string{"exc_code": sb.currency},
		})
	}
	if err != nil {
		return err
	}
	for p, email := range people {
		if p == Owner || p == None {
			continue
		}
		if _, err := s.Share(owner, b.ID, Collaborator{Email: email, Permission: p}); err != nil {
			return err
		}
	}
	if len(b.Accounts) > 0 {
		return nil
	}
	return s.seedAccounts(owner, b)
}

func (s *Service) seedAccounts(owner Caller, b Book) error {
	var all []Account
	groups := map[string]Group{}
	for _, g := range b.Groups {
		groups[g.Name] = g
	}
	for _, a := range seedAccounts {
		g, ok := groups[a.group]
		if !ok {
			var err error
			if g, err = s.PutGroup(owner, b.ID, Group{Name: a.group}); err != nil {
				return err
			}
			groups[a.group] = g
		}
		all = append(all, Account{Name: a.name, Type: a.kind, Groups: []Group{g}})
	}
	_, err := s.CreateAccounts(owner, b.ID, all)
	return err
}

func (s *Service) seedApps(owner User) error {
	for _, a := range []App{
		{ID: "bkper-csv-app", Name: "CSV Importer", Description: "Imports statements", MenuURL: "https://csv.example/?book=${book.id}"},
		{ID: "bkper-sheets", Name: "Bkper for Sheets", Description: "Records from a spreadsheet", Website: "https://sheets.example/"},
		{ID: "exchange-bot", Name: "Exchange Bot", Description: "Mirrors transactions into Books of other currencies", Events: []string{"TRANSACTION_CHECKED"}},
		{ID: "sales-tax-bot", Name: "Tax Bot", Description: "Records the tax of each sale", Events: []string{"TRANSACTION_POSTED"}},
		{ID: "subledger-bot", Name: "Subledger Bot", Description: "Ties Books to an account of another", Events: []string{"TRANSACTION_POSTED", "TRANSACTION_CHECKED"}},
	} {
		if _, err := s.App(Caller{Email: owner.Email}, a.ID); err == nil {
			continue
		}
		a.APIVersion, a.Installable, a.Published, a.OwnerName = "v5", new(true), new(true), "Bkper"
		if _, err := s.PutApp(Caller{Email: owner.Email}, a, true); err != nil {
			return fmt.Errorf("seed apps: %w", err)
		}
	}
	return nil
}
