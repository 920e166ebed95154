package pluggy

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"time"

	"github.com/shopspring/decimal"
)

// How banks tell of a purchase in instalments: by default one row a bill, as its month comes.
const (
	allUpFront    = "all"   // all rows at once, PENDING and dated ahead
	wholePurchase = "whole" // the full purchase, in no bill
	// scheduledAhead is one row a bill; a scheduled PIX is told ten days ahead of its day.
	scheduledAhead = "scheduled"
)

// The lives of accounts.
const (
	lifeChecking = "checking"
	lifeSavings  = "savings"
	lifeCard     = "card"
)

const (
	baseDays  = 400 // so that an item's first year leaves something out
	closesOn  = 25  // day of the month on which a card's bill closes
	dueDays   = 10  // from there to its due date
	ownDigits = "4242"
)

func money(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func moneyPtr(s string) *decimal.Decimal {
	d := money(s)
	return &d
}

// endow opens the accounts of a user of the table.
func (b *Bank) endow(c *customer, at *Connector) {
	checking := Holding{
		Name: "Conta Corrente", Number: "0001/12345-0", Type: BankAccount, Subtype: "CHECKING_ACCOUNT", Currency: "BRL",
		Owner: "Maria da Silva", TaxNumber: "882.937.076-23", Opening: money("4200.00"), Life: lifeChecking,
	}
	savings := Holding{
		Name: "Poupança", Number: "0001/12345-8", Type: BankAccount, Subtype: "SAVINGS_ACCOUNT", Currency: "BRL",
		Owner: checking.Owner, TaxNumber: checking.TaxNumber, Opening: money("10000.00"), Life: lifeSavings,
	}
	card := Holding{
		Name: "Mastercard Black", MarketingName: "PLUGGY UNICLASS MASTERCARD BLACK", Number: ownDigits, Type: CardAccount,
		Subtype: "CREDIT_CARD", Currency: "BRL", Owner: checking.Owner, TaxNumber: checking.TaxNumber, Brand: "MASTERCARD", Level: "BLACK",
		Limit: money("300000"), Opening: money("503.10"), Life: lifeCard,
	}
	list := []Holding{checking, savings, card}
	switch k := kind(c.user); {
	case perfTimes(k) > 0:
		checking.Life, checking.Rows = "", b.bulk(perfTimes(k)*10)
		list = []Holding{checking, card}
	case k == "user-ok-two-checking-accounts":
		second := checking
		second.Name, second.Number, second.Opening = "Conta Corrente 2", "0001/54321-9", money("150.00")
		list = []Holding{checking, second, card}
	case k == "user-ok-multi-company":
		list = companies(checking, card)
	}
	for _, h := range list {
		if at.Type == business && h.TaxNumber == checking.TaxNumber {
			h.Owner, h.TaxNumber = "Silva Comércio Ltda.", "12.345.678/0001-95"
		}
		if _, err := b.open(c, h); err != nil {
			panic("pluggy sandbox: " + err.Error()) // the seeded accounts are part of this file
		}
	}
}

// companies are two, each with an account, and a card of the first.
func companies(account, card Holding) []Holding {
	first, second := account, account
	first.Owner, first.TaxNumber = "Silva Comércio Ltda.", "12.345.678/0001-95"
	second.Owner, second.TaxNumber, second.Number = "Silva Serviços Ltda.", "98.765.432/0001-10", "0001/77777-1"
	card.Owner, card.TaxNumber = first.Owner, first.TaxNumber
	return []Holding{first, second, card}
}

// bulk is many rows over the last year.
func (b *Bank) bulk(n int) []Row {
	rows := make([]Row, n)
	last := b.now().Truncate(day)
	for i := range rows {
		at := last.AddDate(0, 0, -(n-1-i)*historyDays/n).Add(15 * time.Hour)
		rows[i] = Row{Date: at.Format(wireTime), Amount: decimal.New(int64(100+i*37%9000), -2), Type: Debit, Description: fmt.Sprintf("COMPRA TESTE %06d", i)}
		if i%3 == 0 {
			rows[i].Type = Credit
		}
	}
	return rows
}

// grow lets an account live until today. The same account lives the same life whenever it is looked at, so a card's bills
// close and its purchases are posted on the same days.
func (b *Bank) grow(h *holding) {
	today := b.now().Truncate(day)
	if h.Life == "" || h.grownTo >= today.Format(time.DateOnly) {
		return
	}
	from := today.AddDate(0, 0, -baseDays)
	if h.grownTo != "" {
		from, _ = time.Parse(time.DateOnly, h.grownTo) // written below
		from = from.AddDate(0, 0, 1)
	} else {
		b.happen(h, specials(h.Life, today))
	}
	c, _ := b.connector(h.owner.connector)
	for d := from; !d.After(today); d = d.AddDate(0, 0, 1) {
		b.happen(h, dayOf(h.Life, c.Installments, h.id, d))
		if h.Life == lifeCard && d.Day() == closesOn {
			b.closeBill(h, d)
		}
	}
	h.grownTo = today.Format(time.DateOnly)
	b.dirty.Touch(h)
}

func (b *Bank) happen(h *holding, rows []Row) {
	for _, r := range rows {
		if _, err := b.record(h, r); err != nil {
			panic("pluggy sandbox: " + err.Error()) // what happens is part of this file
		}
	}
}

// closeBill posts what is in the bill that closes on a day. Every seventh row comes with another text, as banks do when
// they post; at connectors without an id of the institution Pluggy takes such a row for another transaction.
func (b *Bank) closeBill(h *holding, closing time.Time) {
	end := closing.AddDate(0, 0, 1)
	for _, r := range h.rows {
		if r.gone || !r.Pending || !r.at.Before(end) {
			continue
		}
		a := Amendment{Post: true, Bill: closing.Format("2006-01")}
		if r.n%7 == 3 {
			a.Description = r.Description + " BR"
		}
		if err := b.Amend(r.id, a); err != nil {
			panic("pluggy sandbox: " + err.Error()) // the row is live and stays as it is
		}
	}
}

// habit is something that recurs in an account.
type habit struct {
	day       int // of the month; 0 is by chance, every so many days
	every     int
	low, high int64 // cents
	in        bool
	text      string // its %d is a reference number
	merchant  string
	category  string
	operation string
	clock     string // of the day, UTC; empty is T03:00Z
}

var habits = map[string][]habit{
	lifeChecking: {
		{day: 5, low: 680000, high: 680000, in: true, text: "SALARIO ACME LTDA %d", category: "01010000", operation: "FOLHA_PAGAMENTO"},
		{day: 7, low: 190000, high: 190000, text: "BOLETO ALUGUEL IMOBILIARIA CENTRAL %d", category: "17010000", operation: "BOLETO"},
		{day: 12, low: 9000, high: 21000, text: "DEB AUT ENERGIA SP %d", category: "17020000", operation: "OUTROS"},
		{every: 3, low: 1500, high: 18000, text: "PIX ENVIADO MERCADO BOM PRECO %d", merchant: "Mercado Bom Preço", category: "10000000", operation: "PIX", clock: "17:42:11.000"},
		{every: 6, low: 2000, high: 30000, in: true, text: "PIX RECEBIDO JOAO SOUZA %d", operation: "PIX", clock: "01:30:05.000"},
		{every: 9, low: 350, high: 990, text: "TAR PACOTE SERVICOS %d", category: "16000000", operation: "TARIFA_SERVICOS_AVULSOS", clock: "00:00:00.000"},
	},
	lifeSavings: {
		{day: 10, low: 3000, high: 6000, in: true, text: "RENDIMENTO POUPANCA %d", category: "03000000", operation: "RENDIMENTO_APLIC_FINANCEIRA"},
	},
	lifeCard: {
		{day: 3, low: 5590, high: 5590, text: "PAGO NETFLIX SERV %d", merchant: "Netflix", category: "09020000"},
		{day: 5, low: 100000, high: 250000, in: true, text: "PAGAMENTO RECEBIDO %d", operation: "PAGAMENTO"},
		{every: 2, low: 1200, high: 9800, text: "RESTAURANTE SABOR %d", merchant: "Restaurante Sabor", category: "11000000", clock: "23:10:00.000"},
		{every: 4, low: 900, high: 4200, text: "UBER *TRIP %d", merchant: "Uber", category: "15010000", clock: "02:15:00.000"},
	},
}

// dayOf is what happens on a day; the same for the same account and day.
func dayOf(life, installments, key string, d time.Time) []Row {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", key, d.Format(time.DateOnly))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	var rows []Row
	for _, x := range habits[life] {
		if x.day == d.Day() || x.every > 0 && rng.IntN(x.every) == 0 {
			rows = append(rows, x.row(life, rng, d))
		}
	}
	switch {
	case life == lifeCard && d.Day() == 8:
		rows = append(rows, instalments(installments, d)...)
	case life == lifeCard && d.Day() == 16:
		rows = append(rows, abroad(d)...)
	case life == lifeChecking && d.Day() == 20:
		rows = append(rows, oddities(d)...)
	case life == lifeChecking && installments == scheduledAhead && d.Day() == 14:
		rows = append(rows, scheduled(d)...)
	}
	return rows
}

func (x habit) row(life string, rng *rand.Rand, d time.Time) Row {
	r := Row{
		Date: on(d, x.clock), Amount: decimal.New(x.low+rng.Int64N(x.high-x.low+1), -2), Type: Debit,
		Description: fmt.Sprintf(x.text, 1000+rng.IntN(9000)), CategoryID: x.category, OperationType: x.operation,
	}
	if x.in {
		r.Type = Credit
	}
	if x.merchant != "" {
		r.Merchant = &Merchant{Name: x.merchant, BusinessName: x.merchant + " LTDA.", CNPJ: "11222333000181"}
	}
	switch {
	case x.operation == "PIX":
		r.Payment = pix(x.in, r.Description)
	case life == lifeCard:
		r.Pending = true
		r.Card = cardData(d)
	}
	return r
}

func on(d time.Time, clock string) string {
	return d.Format(time.DateOnly) + "T" + cmp.Or(clock, "03:00:00.000") + "Z"
}

// cardData is creditCardMetadata of a purchase: the bill that it will be in is a forecast.
func cardData(d time.Time) *CardData {
	bill := d
	if d.Day() > closesOn {
		bill = time.Date(d.Year(), d.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return &CardData{CardNumber: ownDigits, PayeeMCC: json.RawMessage("5814"), BillForecastDate: bill.Format("2006-01")}
}

func pix(in bool, text string) *Payment {
	other := &Party{Name: "JOAO SOUZA", Document: &Document{"CPF", "123.456.789-09"}, AccountNumber: "98765-4", BranchNumber: "0001", RoutingNumber: "341"}
	us := &Party{Document: &Document{"CPF", "882.937.076-23"}}
	reason := text
	p := &Payment{Payer: us, Receiver: other, Reason: &reason, Method: "PIX", Boleto: json.RawMessage("null")}
	if in {
		p.Payer, p.Receiver = other, nil
	}
	return p
}

const purchaseMonths = 6

// instalments of a purchase that is made every six months, in the way of the bank.
func instalments(style string, d time.Time) []Row {
	n := (d.Year()*12+int(d.Month())-1)%purchaseMonths + 1
	purchase := d.AddDate(0, 1-n, 0)
	part := func(n int) Row {
		at := purchase.AddDate(0, n-1, 0)
		data := cardData(at)
		data.Installment, data.Installments, data.PurchaseDate = n, purchaseMonths, on(purchase, "")
		return Row{
			Date: on(at, ""), Amount: money("149.90"), Description: fmt.Sprintf("MAGAZINE LUIZA PARC %02d/%02d", n, purchaseMonths),
			Pending: true, Card: data, CategoryID: "08000000",
		}
	}
	switch {
	case style == allUpFront && n == 1:
		rows := make([]Row, purchaseMonths)
		for i := range rows {
			rows[i] = part(i + 1)
		}
		return rows
	case style == wholePurchase && n == 1:
		r := part(1)
		r.Amount, r.Pending, r.Description = money("899.40"), false, "MAGAZINE LUIZA 6X"
		r.Card.BillForecastDate, r.Card.Total = "", moneyPtr("899.40")
		return []Row{r}
	case style == allUpFront, style == wholePurchase:
		return nil
	}
	return []Row{part(n)}
}

// abroad is a purchase in dollars with its tax, an amount in ten-thousandths, a refund, and a bill that is never.
func abroad(d time.Time) []Row {
	data := func() *CardData { return cardData(d) }
	never := data()
	never.BillForecastDate = "0001-01"
	refund := data()
	refund.OtherCredits, refund.OtherCreditsInfo = "ESTORNO", "NA"
	fee := data()
	fee.FeeType, fee.FeeTypeInfo = "IOF", "NA"
	return []Row{
		{Date: on(d, "01:30:00.000"), Amount: money("58"), Currency: "USD", InAccount: moneyPtr("298.19"), Description: "PAGO OPENLIBRARY SERV", Pending: true, Card: data()},
		{Date: on(d, "01:30:00.000"), Amount: money("10.44"), Description: "IOF COMPRA INTERNACIONAL", Pending: true, Card: fee, OperationType: "TARIFA"},
		{Date: on(d, ""), Amount: money("307.8891"), Description: "HOTEL PRAIA AZUL", Pending: true, Card: never, Merchant: &Merchant{Name: "Hotel Praia Azul", CNPJ: "00000000000000"}},
		{Date: on(d, ""), Type: Credit, Amount: money("45.00"), Description: "ESTORNO LOJA VIRTUAL", Pending: true, Card: refund, OperationType: "ESTORNO"},
	}
}

// oddities are two equal rows of one day, one that arrives three weeks late, and one that no client knows what to do with.
func oddities(d time.Time) []Row {
	coffee := Row{Date: on(d, "12:00:00.000"), Amount: money("8.50"), Description: "PAG*CAFE PONTO", NoRaw: true, OperationType: "CARTAO"}
	late := Row{Date: on(d.AddDate(0, 0, -21), ""), Amount: money("77.70"), Description: "DEB TARDIO ASSINATURA " + d.Format("01/06"), OperationType: "OUTROS"}
	strange := Row{
		Date: on(d, ""), Type: Credit, Amount: money("12.34"), Description: "CREDITO NOVO PRODUTO", OperationType: "PRODUTO_QUE_NINGUEM_CONHECE",
		Extra: map[string]json.RawMessage{"insights": json.RawMessage(`{"score":0.5,"tags":["novo"]}`)},
	}
	return []Row{coffee, coffee, late, strange}
}

// scheduled is a PIX that is told ahead.
func scheduled(d time.Time) []Row {
	next := d.AddDate(0, 0, 10)
	return []Row{{Date: on(next, ""), Amount: money("250.00"), Description: "PIX AGENDADO ESCOLA " + next.Format("02/01"), OperationType: "PIX"}}
}

// specials are rows around the first day that do not recur, one of them in the future.
func specials(life string, today time.Time) []Row {
	switch life {
	case lifeChecking:
		return []Row{
			{Date: on(today.AddDate(0, 0, 6), ""), Amount: money("120.00"), Description: "AGENDADO SEGURO RESIDENCIAL", OperationType: "BOLETO"},
			{Date: on(today.AddDate(0, 0, -2), ""), Type: Credit, Amount: money("1500.00"), Description: "TED RECEBIDA CLIENTE", OperationType: "TED", Payment: pix(true, "TED")},
			{Date: on(today.AddDate(0, 0, -3), "00:00:00.000"), Amount: money("64.90"), Description: "DEB AUT INTERNET", OperationType: "OUTROS"},
			{Date: on(today.AddDate(0, 0, -1), "01:30:00.000"), Amount: money("33.33"), Description: "PIX ENVIADO FARMACIA", OperationType: "PIX", Merchant: &Merchant{Name: "Farmácia", CNPJ: "44555666000110"}},
		}
	case lifeCard:
		return []Row{{Date: on(today.AddDate(0, 0, -1), "01:30:00.000"), Amount: money("19.99"), Description: "LIVRARIA DO CENTRO", Pending: true, Card: cardData(today)}}
	}
	return nil
}

// captcha is a picture of 123456 as good as none: its pixels are not read by anybody.
func captcha() string {
	img := image.NewGray(image.Rect(0, 0, 60, 20))
	for x := range 60 {
		img.SetGray(x, 4+x*7%12, color.Gray{255})
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		panic("pluggy sandbox: draw: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}
