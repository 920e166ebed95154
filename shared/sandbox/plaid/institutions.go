package plaid

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"slices"
	"strings"
	"sync"
)

// Countries are those in which Plaid offers Transactions.
var Countries = []string{
	"US", "CA", "GB", "IE", "FR", "ES", "NL", "DE", "IT", "PL", "DK", "NO", "SE", "EE", "LT", "LV", "PT", "BE", "AT", "FI",
}

var currencies = map[string]string{
	"US": "USD", "CA": "CAD", "GB": "GBP", "PL": "PLN", "DK": "DKK", "NO": "NOK", "SE": "SEK",
} // the euro elsewhere

// Health of an institution, as the Sandbox has one of each.
const (
	degraded    = "degraded"
	down        = "down"
	unsupported = "unsupported"
)

// Institution is a bank.
type Institution struct {
	ID        string   `json:"institution_id"`
	Name      string   `json:"name"`
	Countries []string `json:"country_codes"`
	Products  []string `json:"products"`
	OAuth     bool     `json:"oauth"`
	URL       string   `json:"url"`
	Colour    string   `json:"primary_color"` // #rrggbb

	health string
	n      int  // place among the added ones
	own    bool // added by the caller; only customers that were added exist there
}

func (i *Institution) european() bool {
	return !slices.Contains(i.Countries, "US") && !slices.Contains(i.Countries, "CA")
}

func (i *Institution) currency() string { return cmp.Or(currencies[i.Countries[0]], "EUR") }

// Logo is the bank's logo: a PNG of 152 by 152 pixels in base64, as Plaid has them. It is drawn, not the bank's own.
func (i *Institution) Logo() string {
	var rgb [3]uint8
	fmt.Sscanf(i.Colour, "#%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2])
	const size = 152
	img := image.NewPaletted(image.Rect(0, 0, size, size), color.Palette{color.RGBA{rgb[0], rgb[1], rgb[2], 255}, color.White})
	for y := range size {
		for x := range size {
			roof := y >= 36 && y < 66 && abs(x-size/2) <= (y-36)*3/2+4
			column := y >= 74 && y < 112 && x >= 34 && x < 118 && (x-34)%22 < 14
			base := y >= 118 && y < 128 && x >= 26 && x < 126
			if roof || column || base {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		panic("plaid sandbox: draw a logo: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

func abs(n int) int { return max(n, -n) }

// special are Plaid's own Sandbox institutions (https://plaid.com/docs/sandbox/institutions/).
var special = []Institution{
	{ID: "ins_109508", Name: "First Platypus Bank", Countries: []string{"US"}},
	{ID: "ins_109509", Name: "First Gingham Credit Union", Countries: []string{"US"}},
	{ID: "ins_109510", Name: "Tattersall Federal Credit Union", Countries: []string{"US"}},
	{ID: "ins_109511", Name: "Tartan Bank", Countries: []string{"US"}},
	{ID: "ins_109512", Name: "Houndstooth Bank", Countries: []string{"US"}},
	{ID: "ins_130016", Name: "First Platypus Balance Bank", Countries: []string{"US"}},
	{ID: "ins_43", Name: "Tartan-Dominion Bank of Canada", Countries: []string{"CA"}},
	{ID: "ins_116834", Name: "Royal Bank of Plaid", Countries: []string{"GB"}, OAuth: true},
	{ID: "ins_117650", Name: "Royal Bank of Plaid - Current Accounts", Countries: []string{"GB"}, OAuth: true},
	{ID: "ins_117181", Name: "Flexible Platypus Open Banking", Countries: []string{"GB"}, OAuth: true},
	{ID: "ins_127287", Name: "Platypus OAuth Bank", Countries: []string{"US"}, OAuth: true},
	{ID: "ins_132241", Name: "First Platypus OAuth App2App Bank", Countries: []string{"US"}, OAuth: true},
	{ID: "ins_135858", Name: "Windowpane Bank", Countries: []string{"US"}},
	{ID: "ins_132363", Name: "Pinstripe Bank - degraded", Countries: []string{"US"}, health: degraded},
	{ID: "ins_132361", Name: "Pinstripe Bank - down", Countries: []string{"US"}, health: down},
	{ID: "ins_133402", Name: "Unsupported Bank", Countries: []string{"US"}, health: unsupported},
	{ID: "ins_56", Name: "Chase", Countries: []string{"US"}, OAuth: true},
	{ID: "ins_13", Name: "PNC", Countries: []string{"US"}, OAuth: true},
	{ID: "ins_127990", Name: "U.S. Bank", Countries: []string{"US"}, OAuth: true},
}

// national are well-known banks of every country; their ids are the sandbox's own.
var national = map[string][]string{
	"US": {"Bank of America", "Wells Fargo", "Citibank Online", "Capital One", "USAA", "Navy Federal Credit Union"},
	"CA": {"RBC Royal Bank", "TD Canada Trust", "Scotiabank", "BMO Bank of Montreal", "CIBC"},
	"GB": {"Barclays", "HSBC UK", "Lloyds Bank", "NatWest", "Monzo", "Starling Bank"},
	"IE": {"AIB", "Bank of Ireland", "Permanent TSB", "EBS", "An Post Money"},
	"FR": {"BNP Paribas", "Crédit Agricole", "Société Générale", "La Banque Postale", "Boursorama"},
	"ES": {"Banco Santander", "BBVA", "CaixaBank", "Banco Sabadell", "Bankinter"},
	"NL": {"ING", "Rabobank", "ABN AMRO", "SNS Bank", "bunq"},
	"DE": {"Deutsche Bank", "Commerzbank", "Sparkasse Köln/Bonn", "DKB", "N26", "Volksbank Münster"},
	"IT": {"Intesa Sanpaolo", "UniCredit", "Banco BPM", "BPER Banca", "Fineco"},
	"PL": {"PKO Bank Polski", "mBank", "Santander Bank Polska", "ING Bank Śląski", "Bank Pekao"},
	"DK": {"Danske Bank", "Nordea Danmark", "Jyske Bank", "Sydbank", "Nykredit Bank"},
	"NO": {"DNB", "Nordea Norge", "SpareBank 1", "Sbanken", "Handelsbanken Norge"},
	"SE": {"Swedbank", "SEB", "Handelsbanken", "Nordea Sverige", "Länsförsäkringar Bank"},
	"EE": {"LHV Pank", "Swedbank Eesti", "SEB Eesti", "Luminor Eesti", "Coop Pank"},
	"LT": {"Swedbank Lietuva", "SEB Lietuva", "Luminor Lietuva", "Šiaulių bankas", "Citadele Lietuva"},
	"LV": {"Swedbank Latvija", "SEB Latvija", "Luminor Latvija", "Citadele", "Rietumu Banka"},
	"PT": {"Caixa Geral de Depósitos", "Millennium bcp", "Novo Banco", "Santander Totta", "ActivoBank"},
	"BE": {"KBC", "Belfius", "BNP Paribas Fortis", "ING België", "Argenta"},
	"AT": {"Erste Bank", "Raiffeisen Bank", "Bank Austria", "BAWAG", "Oberbank"},
	"FI": {"OP Ryhmä", "Nordea Suomi", "Danske Bank Suomi", "S-Pankki", "Aktia"},
}

// seeded returns the institutions that every Bank has, by id and in order.
var seeded = sync.OnceValues(func() (map[string]*Institution, []*Institution) {
	var list []*Institution
	for _, s := range special {
		list = append(list, s.complete())
	}
	for c, country := range Countries {
		for n, name := range national[country] {
			inst := Institution{ID: fmt.Sprintf("ins_9%02d%03d", c, n), Name: name, Countries: []string{country}, OAuth: country != "CA"}
			list = append(list, inst.complete())
		}
	}
	byID := make(map[string]*Institution, len(list))
	for _, i := range list {
		byID[i.ID] = i
	}
	return byID, list
})

// complete fills in what follows from the name.
func (i Institution) complete() *Institution {
	h := fnv.New32a()
	h.Write([]byte(i.Name))
	v := h.Sum32()
	i.Colour = fmt.Sprintf("#%02x%02x%02x", v&0x7f, v>>8&0x7f, v>>16&0x7f|0x40)
	i.Products = []string{"transactions"}
	i.URL = "https://bank.example/" + i.ID
	return &i
}

func (b *Bank) institution(id string) (*Institution, bool) {
	if i := b.own[id]; i != nil {
		return i, true
	}
	byID, _ := seeded()
	i, ok := byID[id]
	return i, ok
}

// AddInstitution adds a bank whose only customers are those that AddCustomer or a CSV file brings.
func (b *Bank) AddInstitution(id, name string, countries []string, oauth bool) (*Institution, error) {
	if _, ok := b.institution(id); ok {
		return nil, fmt.Errorf("institution %q exists", id)
	}
	i := Institution{ID: id, Name: name, Countries: countries, OAuth: oauth, own: true, n: len(b.ownIDs)}.complete()
	b.own[id] = i
	b.ownIDs = append(b.ownIDs, id)
	b.dirty.Touch(institutionDoc{*i, i.n})
	return i, nil
}

// institutions returns those of any of the countries that have all the products, the added ones first.
func (b *Bank) institutions(countries, products []string, oauth *bool) []*Institution {
	var out []*Institution
	fits := func(i *Institution) bool {
		return slices.ContainsFunc(countries, func(c string) bool { return slices.Contains(i.Countries, c) }) &&
			!slices.ContainsFunc(products, func(p string) bool { return !slices.Contains(i.Products, p) }) &&
			(oauth == nil || *oauth == i.OAuth)
	}
	for _, id := range b.ownIDs {
		if i := b.own[id]; fits(i) {
			out = append(out, i)
		}
	}
	_, list := seeded()
	for _, i := range list {
		if fits(i) {
			out = append(out, i)
		}
	}
	return out
}

// Institutions answers /institutions/get: a page of the banks of some countries, and how many there are.
func (b *Bank) Institutions(countries, products []string, oauth *bool, offset, count int) (page []*Institution, total int, err error) {
	if err := checkCountries(countries); err != nil {
		return nil, 0, err
	}
	if count < 1 || count > 500 {
		return nil, 0, invalidField("count must be between 1 and 500")
	}
	if offset < 0 {
		return nil, 0, invalidField("offset must not be negative")
	}
	all := b.institutions(countries, products, oauth)
	from := min(offset, len(all))
	return all[from:min(from+count, len(all))], len(all), nil
}

// SearchInstitutions answers /institutions/search: at most ten banks whose name holds the query.
func (b *Bank) SearchInstitutions(query string, countries, products []string, oauth *bool) ([]*Institution, error) {
	if err := checkCountries(countries); err != nil {
		return nil, err
	}
	if strings.TrimSpace(query) == "" {
		return nil, invalidField("query must not be empty")
	}
	return b.search(query, countries, products, oauth), nil
}

func (b *Bank) search(query string, countries, products []string, oauth *bool) []*Institution {
	const most = 10
	query = strings.ToLower(strings.TrimSpace(query))
	found := slices.DeleteFunc(b.institutions(countries, products, oauth), func(i *Institution) bool {
		return !strings.Contains(strings.ToLower(i.Name), query)
	})
	return found[:min(most, len(found))]
}

// InstitutionByID answers /institutions/get_by_id.
func (b *Bank) InstitutionByID(id string, countries []string) (*Institution, error) {
	if err := checkCountries(countries); err != nil {
		return nil, err
	}
	i, ok := b.institution(id)
	if !ok || !slices.ContainsFunc(countries, func(c string) bool { return slices.Contains(i.Countries, c) }) {
		return nil, refuse("INVALID_INSTITUTION")
	}
	return i, nil
}

func checkCountries(countries []string) error {
	if len(countries) == 0 {
		return invalidField("country_codes must contain at least one country")
	}
	for _, c := range countries {
		if !slices.Contains(Countries, c) {
			return invalidField("country_codes must be among %s", strings.Join(Countries, ", "))
		}
	}
	return nil
}
