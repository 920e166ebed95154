package bkper

import (
	"net/http"
	"time"
)

// simRoutes serves the hands of people and the faults to drivers in another process. They ask for no token: the sandbox
// is for development and tests. Bodies are JSON; errors come in the API's envelope.
//
//	GET  /_sim/rules                                    Rules in force
//	PUT  /_sim/rules                                    Rules
//	PUT  /_sim/lag                                      {"ms": N}: new transactions are missing from lists for so long
//	GET  /_sim/faults, PUT /_sim/faults                 [Fault, …]; an empty list ends all
//	GET  /_sim/books                                    every Book with its owner's view
//	GET  /_sim/books/{book}/transactions                every transaction in order of creation, the bin included
//	POST /_sim/books/{book}/transactions/{id}/edit      Edit
//	POST /_sim/books/{book}/transactions/{id}/{action}  post, check, uncheck, trash or untrash
//	POST /_sim/books/{book}/merge                       {"ids": ["…", "…"]}
//	POST /_sim/books/{book}/lock                        {"date": "yyyy-MM-dd"}; "" unlocks
//	POST /_sim/books/{book}/permit                      {"email": "…", "permission": "NONE"}
//	POST /_sim/books/{book}/accounts/{id}/{action}      archive, restore or delete
//	POST /_sim/books/{book}/delete                      deletes the Book
func (v *Server) simRoutes() {
	v.sim("GET /_sim/rules", func(call) (any, error) { return v.s.Rules(), nil })
	v.sim("PUT /_sim/rules", with(func(c call, in Rules) (Rules, error) {
		v.s.SetRules(in)
		return in, nil
	}))
	v.sim("PUT /_sim/lag", with(func(c call, in struct {
		Ms int `json:"ms"`
	},
	) (void, error) {
		v.s.SetLag(time.Duration(in.Ms) * time.Millisecond)
		return void{}, nil
	}))
	v.sim("GET /_sim/faults", func(call) (any, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		all := []Fault{}
		for _, f := range v.faults {
			all = append(all, *f)
		}
		return all, nil
	})
	v.sim("PUT /_sim/faults", with(func(c call, in []Fault) (void, error) { return void{}, v.SetFaults(in) }))
	v.sim("GET /_sim/books", func(call) (any, error) { return List[Book]{v.s.AllBooks()}, nil })
	v.simBookRoutes()
}

func (v *Server) simBookRoutes() {
	const b = "/_sim/books/{book}"
	v.sim("GET "+b+"/transactions", v.byHand(func(h Hand, _ call) (any, error) {
		all, err := h.All()
		return List[Transaction]{all}, err
	}))
	v.sim("POST "+b+"/transactions/{id}/edit", v.byHand(func(h Hand, c call) (any, error) {
		e, err := body[Edit](c)
		if err != nil {
			return nil, err
		}
		return h.Edit(c.PathValue("id"), e)
	}))
	v.sim("POST "+b+"/transactions/{id}/{action}", v.byHand(func(h Hand, c call) (any, error) {
		return h.turn(c.PathValue("action"), c.PathValue("id"))
	}))
	v.sim("POST "+b+"/merge", v.byHand(func(h Hand, c call) (any, error) {
		in, err := body[struct {
			IDs [2]string `json:"ids"`
		}](c)
		if err != nil {
			return nil, err
		}
		return h.Merge(in.IDs[0], in.IDs[1])
	}))
	v.sim("POST "+b+"/lock", v.byHand(func(h Hand, c call) (any, error) {
		in, err := body[struct {
			Date string `json:"date"`
		}](c)
		if err != nil {
			return nil, err
		}
		return h.Lock(in.Date)
	}))
	v.sim("POST "+b+"/permit", v.byHand(func(h Hand, c call) (any, error) {
		in, err := body[Collaborator](c)
		if err != nil {
			return nil, err
		}
		return void{}, h.Permit(in.Email, in.Permission)
	}))
	v.sim("POST "+b+"/accounts/{id}/{action}", v.byHand(func(h Hand, c call) (any, error) {
		id, action := c.PathValue("id"), c.PathValue("action")
		switch action {
		case "archive", "restore":
			return void{}, h.Archive(id, action == "archive")
		case "delete":
			return void{}, h.DeleteAccount(id)
		}
		return nil, notFound("no such action: %s", action)
	}))
	v.sim("POST "+b+"/delete", v.byHand(func(h Hand, _ call) (any, error) { return void{}, h.Delete() }))
}

func (h Hand) turn(action, id string) (TransactionOperation, error) {
	do, ok := map[string]func(string) (TransactionOperation, error){
		"post": h.Post, "check": h.Check, "uncheck": h.Uncheck, "trash": h.Trash, "untrash": h.Untrash,
	}[action]
	if !ok {
		return TransactionOperation{}, notFound("no such action: %s", action)
	}
	return do(id)
}

func (v *Server) byHand(do func(Hand, call) (any, error)) func(call) (any, error) {
	return func(c call) (any, error) {
		h, err := v.s.Hand(c.book())
		if err != nil {
			return nil, err
		}
		return do(h, c)
	}
}

func (v *Server) sim(pattern string, do func(call) (any, error)) {
	v.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		result, err := do(call{Request: r})
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, result)
	})
}

// AllBooks returns every Book as its owner sees it.
func (s *Service) AllBooks() []Book {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Book
	for _, b := range sorted(s.books) {
		if b.Deleted {
			continue
		}
		for _, c := range b.Collaborators {
			if c.Permission == Owner {
				all = append(all, s.viewBook(b, Caller{Email: c.Email}))
			}
		}
	}
	return all
}
