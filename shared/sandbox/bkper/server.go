package bkper

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	strict "github.com/go-json-experiment/json"
)

// maxBody is App Engine's bound of a request.
const maxBody = 32 << 20

// Server serves a Service over HTTP: the API under /v5 (and under /_ah/api/bkper/v5, its older place), a page for people
// under /book/, and the controls of the sandbox under /_sim/. The caller strips the prefix that it is mounted under.
type Server struct {
	s     *Service
	token func(token string) (email, sub string, ok bool)
	mux   *http.ServeMux

	mu     sync.Mutex
	faults []*Fault
}

// NewServer puts HTTP over s. token tells whose access token it is; ok is false for one that is unknown or expired.
func NewServer(s *Service, token func(token string) (email, sub string, ok bool)) *Server {
	v := &Server{s: s, token: token, mux: http.NewServeMux()}
	v.userRoutes()
	v.bookRoutes()
	v.transactionRoutes()
	v.simRoutes()
	v.pageRoutes()
	v.mux.HandleFunc("/v5/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, notFound("Not found: %s %s", r.Method, r.URL.Path))
	})
	return v
}

func (v *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	u := *r.URL
	u.Path = tidy(u.Path)
	if u.RawPath != "" {
		u.RawPath = tidy(u.RawPath)
	}
	r2 := *r
	r2.URL = &u
	if strings.HasPrefix(u.Path, "/v5/") {
		v.withFaults(w, &r2)
		return
	}
	v.mux.ServeHTTP(w, &r2)
}

// tidy takes off the older prefix and the slash that clients put behind collections.
func tidy(path string) string {
	path = strings.TrimPrefix(path, "/_ah/api/bkper")
	if strings.HasPrefix(path, "/v5/") {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// call is one request to the API.
type call struct {
	*http.Request
	who Caller
}

func (c call) book() string { return c.PathValue("book") }

// void is the result of calls that have none.
type void struct{}

// handle serves one method and path of the API.
func (v *Server) handle(pattern string, do func(call) (any, error)) {
	v.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		who, err := v.caller(r)
		if err != nil {
			refuse(w, err)
			return
		}
		result, err := do(call{r, who})
		switch _, isVoid := result.(void); {
		case err != nil:
			refuse(w, err)
		case isVoid && !v.s.Rules().VoidIsObject:
			w.WriteHeader(http.StatusNoContent)
		default:
			answer(w, http.StatusOK, result)
		}
	})
}

func (v *Server) caller(r *http.Request) (Caller, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Caller{}, errLogin()
	}
	email, sub, ok := v.token(token)
	if !ok {
		return Caller{}, errLogin()
	}
	if err := v.s.AddUser(User{ID: sub, Email: email}); err != nil {
		return Caller{}, err
	}
	return Caller{Email: email, Agent: r.Header.Get("bkper-agent-id"), CutAfter: cutAfter(r)}, nil
}

// body decodes a request strictly: unknown, repeated and mistyped members are refused, as is anything behind the value.
func body[T any](c call) (T, error) {
	var in T
	raw, err := io.ReadAll(c.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return in, &Error{http.StatusRequestEntityTooLarge, "uploadTooLarge", "Request too large"}
	}
	if err != nil {
		return in, invalid("The body cannot be read")
	}
	if err := strict.Unmarshal(raw, &in, strict.RejectUnknownMembers(true)); err != nil {
		return in, invalid("InvalidFormatException: %v", err)
	}
	return in, nil
}

// with decodes the body and passes it on.
func with[In, Out any](do func(c call, in In) (Out, error)) func(call) (any, error) {
	return func(c call) (any, error) {
		in, err := body[In](c)
		if err != nil {
			return nil, err
		}
		return do(c, in)
	}
}

func (v *Server) userRoutes() {
	s := v.s
	v.handle("GET /v5/user", func(c call) (any, error) { return s.User(c.who) })
	v.handle("GET /v5/user/connections", func(c call) (any, error) { return s.Connections(c.who) })
	v.handle("POST /v5/user/connections", with(func(c call, in Connection) (Connection, error) { return s.CreateConnection(c.who, in) }))
	v.handle("PUT /v5/user/connections", with(func(c call, in Connection) (Connection, error) { return s.UpdateConnection(c.who, in) }))
	v.handle("GET /v5/user/connections/{id}", func(c call) (any, error) { return s.Connection(c.who, c.PathValue("id")) })
	v.handle("DELETE /v5/user/connections/{id}", func(c call) (any, error) { return s.DeleteConnection(c.who, c.PathValue("id")) })
	v.handle("GET /v5/user/connections/{id}/integrations", func(c call) (any, error) { return s.ConnectionIntegrations(c.who, c.PathValue("id")) })
	v.handle("GET /v5/apps", func(c call) (any, error) { return s.Apps(c.who) })
	v.handle("GET /v5/apps/{id}", func(c call) (any, error) { return s.App(c.who, c.PathValue("id")) })
	v.handle("POST /v5/apps", with(func(c call, in App) (App, error) { return s.PutApp(c.who, in, true) }))
	v.handle("PUT /v5/apps", with(func(c call, in App) (App, error) { return s.PutApp(c.who, in, false) }))
	// The sandbox has neither collections nor templates.
	v.handle("GET /v5/collections", func(call) (any, error) { return List[struct{}]{}, nil })
	v.handle("GET /v5/templates", func(call) (any, error) { return List[struct{}]{}, nil })
}

func (v *Server) bookRoutes() {
	s := v.s
	v.handle("GET /v5/books", func(c call) (any, error) { return s.Books(c.who, c.FormValue("query")) })
	v.handle("POST /v5/books", with(func(c call, in Book) (Book, error) {
		if in.Name == "" {
			in.Name = c.URL.Query().Get("name")
		}
		in.ID = ""
		return s.CreateBook(c.who, in)
	}))
	v.handle("PUT /v5/books", with(func(c call, in Book) (Book, error) { return s.UpdateBook(c.who, in.ID, in) }))
	const b = "/v5/books/{book}"
	v.handle("GET "+b, func(c call) (any, error) {
		q := c.URL.Query()
		return s.Book(c.who, c.book(), q.Get("loadAccounts") == "true" || q.Get("loadGroups") == "true")
	})
	v.handle("PUT "+b, with(func(c call, in Book) (Book, error) { return s.UpdateBook(c.who, c.book(), in) }))
	v.handle("DELETE "+b, func(c call) (any, error) { return s.DeleteBook(c.who, c.book()) })
	v.handle("GET "+b+"/apps", func(c call) (any, error) { return s.InstalledApps(c.who, c.book()) })
	v.handle("GET "+b+"/queries", func(c call) (any, error) {
		_, err := s.Book(c.who, c.book(), false)
		return List[struct{}]{}, err
	})
	v.handle("GET "+b+"/collaborators", func(c call) (any, error) { return s.Collaborators(c.who, c.book()) })
	v.handle("POST "+b+"/collaborators", with(func(c call, in Collaborator) (Collaborator, error) { return s.Share(c.who, c.book(), in) }))
	v.handle("DELETE "+b+"/collaborators/{id}", func(c call) (any, error) { return s.Unshare(c.who, c.book(), c.PathValue("id")) })
	v.handle("GET "+b+"/events", func(c call) (any, error) {
		q := c.URL.Query()
		limit, err := number(q.Get("limit"), 50, 200)
		if err != nil {
			return nil, err
		}
		return s.Events(c.who, c.book(), q.Get("type"), q.Get("resoureId"), limit)
	})
	v.handle("GET "+b+"/integrations", func(c call) (any, error) { return s.Integrations(c.who, c.book()) })
	v.handle("POST "+b+"/integrations", with(func(c call, in Integration) (Integration, error) { return s.CreateIntegration(c.who, c.book(), in) }))
	v.handle("PUT "+b+"/integrations", with(func(c call, in Integration) (Integration, error) { return s.UpdateIntegration(c.who, c.book(), in) }))
	v.handle("DELETE "+b+"/integrations/{id}", func(c call) (any, error) { return s.DeleteIntegration(c.who, c.book(), c.PathValue("id")) })
	v.accountRoutes(b)
}

func (v *Server) accountRoutes(b string) {
	s := v.s
	one := func(do func(Caller, string, []Account) (List[Account], error)) func(call) (any, error) {
		return with(func(c call, in Account) (Account, error) {
			l, err := do(c.who, c.book(), []Account{in})
			if err != nil {
				return Account{}, err
			}
			return l.Items[0], nil
		})
	}
	all := func(do func(Caller, string, []Account) (List[Account], error)) func(call) (any, error) {
		return with(func(c call, in List[Account]) (List[Account], error) { return do(c.who, c.book(), in.Items) })
	}
	v.handle("GET "+b+"/accounts", func(c call) (any, error) { return s.Accounts(c.who, c.book()) })
	v.handle("POST "+b+"/accounts", one(s.CreateAccounts))
	v.handle("PUT "+b+"/accounts", one(s.UpdateAccounts))
	v.handle("POST "+b+"/accounts/batch", all(s.CreateAccounts))
	v.handle("PUT "+b+"/accounts/batch", all(s.UpdateAccounts))
	v.handle("POST "+b+"/accounts/delete/batch", all(func(who Caller, book string, in []Account) (List[Account], error) {
		var l List[Account]
		for _, a := range in {
			gone, err := s.DeleteAccount(who, book, a.ID)
			if err != nil {
				return l, err
			}
			l.Items = append(l.Items, gone)
		}
		return l, nil
	}))
	v.handle("GET "+b+"/accounts/{id}", func(c call) (any, error) { return s.Account(c.who, c.book(), c.PathValue("id")) })
	v.handle("DELETE "+b+"/accounts/{id}", func(c call) (any, error) { return s.DeleteAccount(c.who, c.book(), c.PathValue("id")) })
	v.handle("GET "+b+"/accounts/{id}/groups", func(c call) (any, error) {
		a, err := s.Account(c.who, c.book(), c.PathValue("id"))
		return List[Group]{a.Groups}, err
	})
	v.handle("GET "+b+"/groups", func(c call) (any, error) { return s.Groups(c.who, c.book()) })
	put := with(func(c call, in Group) (Group, error) { return s.PutGroup(c.who, c.book(), in) })
	v.handle("POST "+b+"/groups", put)
	v.handle("PUT "+b+"/groups", put)
	v.handle("GET "+b+"/groups/{id}", func(c call) (any, error) {
		g, _, err := s.Group(c.who, c.book(), c.PathValue("id"))
		return g, err
	})
	v.handle("GET "+b+"/groups/{id}/accounts", func(c call) (any, error) {
		_, l, err := s.Group(c.who, c.book(), c.PathValue("id"))
		return l, err
	})
	v.handle("DELETE "+b+"/groups/{id}", func(c call) (any, error) { return s.DeleteGroup(c.who, c.book(), c.PathValue("id")) })
}

func (v *Server) transactionRoutes() {
	s := v.s
	const t = "/v5/books/{book}/transactions"
	type list = List[Transaction]
	v.handle("GET "+t, func(c call) (any, error) {
		q := c.URL.Query()
		limit, err := number(q.Get("limit"), DefaultLimit, MaxLimit)
		if err != nil {
			return nil, err
		}
		return s.Transactions(c.who, c.book(), q.Get("query"), limit, c.Header.Get("cursor"))
	})
	v.handle("GET "+t+"/count", func(c call) (any, error) { return s.Count(c.who, c.book(), c.URL.Query().Get("query")) })
	v.handle("GET "+t+"/{id}", func(c call) (any, error) { return s.Transaction(c.who, c.book(), c.PathValue("id")) })
	one := func(do func(Caller, string, Transaction) (TransactionOperation, error)) func(call) (any, error) {
		return with(func(c call, in Transaction) (TransactionOperation, error) { return do(c.who, c.book(), in) })
	}
	byID := func(do func(Caller, string, string) (TransactionOperation, error)) func(call) (any, error) {
		return with(func(c call, in Transaction) (TransactionOperation, error) { return do(c.who, c.book(), in.ID) })
	}
	many := func(do func(call, []Transaction) error) func(call) (any, error) {
		return with(func(c call, in list) (void, error) { return void{}, do(c, in.Items) })
	}
	v.handle("POST "+t, one(s.Create))
	v.handle("PUT "+t, one(s.Update))
	v.handle("PATCH "+t+"/post", one(s.Post))
	v.handle("PATCH "+t+"/check", byID(s.Check))
	v.handle("PATCH "+t+"/uncheck", byID(s.Uncheck))
	v.handle("PATCH "+t+"/trash", byID(s.Trash))
	v.handle("PATCH "+t+"/remove", byID(s.Trash))
	v.handle("PATCH "+t+"/untrash", byID(s.Untrash))
	v.handle("PATCH "+t+"/restore", byID(s.Untrash))
	v.handle("PATCH "+t+"/merge", with(func(c call, in list) (TransactionOperation, error) { return s.Merge(c.who, c.book(), in.Items) }))
	v.handle("POST "+t+"/batch", with(func(c call, in list) (list, error) {
		items, err := s.CreateBatch(c.who, c.book(), in.Items)
		return list{items}, err
	}))
	v.handle("PUT "+t+"/batch", with(func(c call, in list) (list, error) {
		items, err := s.UpdateBatch(c.who, c.book(), in.Items, c.URL.Query().Get("updateChecked") == "true")
		return list{items}, err
	}))
	v.handle("PATCH "+t+"/post/batch", many(func(c call, in []Transaction) error { return s.PostBatch(c.who, c.book(), in) }))
	v.handle("PATCH "+t+"/check/batch", many(func(c call, in []Transaction) error { return s.CheckBatch(c.who, c.book(), in) }))
	v.handle("PATCH "+t+"/uncheck/batch", many(func(c call, in []Transaction) error { return s.UncheckBatch(c.who, c.book(), in) }))
	v.handle("PATCH "+t+"/untrash/batch", many(func(c call, in []Transaction) error { return s.UntrashBatch(c.who, c.book(), in) }))
	v.handle("PATCH "+t+"/trash/batch", many(func(c call, in []Transaction) error {
		return s.TrashBatch(c.who, c.book(), in, c.URL.Query().Get("trashChecked") == "true")
	}))
}

// number reads a limit.
func number(text string, byDefault, most int) (int, error) {
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, invalid("Invalid limit [%s]", text)
	}
	return min(n, most), nil
}

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Errors  []errorItem `json:"errors"`
}

type errorItem struct {
	Domain  string `json:"domain"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		slog.Error("sandbox of Bkper", "error", err)
		e = errUnavailable()
	}
	answer(w, e.Status, errorBody{errorDetail{e.Status, e.Message, []errorItem{{"global", e.Reason, e.Message}}}})
}

func answer(w http.ResponseWriter, status int, result any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(result)
}
