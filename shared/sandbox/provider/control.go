package provider

import (
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/bkper/automations-portal/shared/sandbox/bankfile"
	"github.com/go-json-experiment/json"
)

// ControlPath is where the control interface is, which scripts a bank from another process. It needs no credentials and is
// no provider's. Each POST takes a JSON object (application/json, so that no foreign web page can send it) and answers a JSON
// object; what cannot be done is 400 with {"error": …}. What changes is announced by webhooks at once. Faults and mischief
// end with the process; everything else outlives it. Beside what each provider adds, there is
//
//	GET    /_sim/webhooks                 waiting, and the last deliveries
//	POST   /_sim/faults                   a Fault
//	DELETE /_sim/faults                   ends all faults
const ControlPath = "/_sim/"

// ControlRoutes registers the controls that every provider has.
func (s *Server[D]) ControlRoutes() {
	s.Mux.HandleFunc("GET "+ControlPath+"webhooks", func(w http.ResponseWriter, _ *http.Request) {
		s.Lock()
		out := map[string]any{"waiting": len(s.Webhooks.Waiting), "deliveries": append([]any{}, s.Webhooks.record...)}
		s.Unlock()
		s.Write(w, http.StatusOK, out)
	})
	Control(s, "faults", func(f Fault) (map[string]any, error) {
		s.Faults.Add(f)
		return nil, nil
	})
	s.Mux.HandleFunc("DELETE "+ControlPath+"faults", func(w http.ResponseWriter, _ *http.Request) {
		s.Faults.Clear()
		s.Write(w, http.StatusOK, struct{}{})
	})
}

// Control registers a POST; f runs as by Do and returns the members of the answer.
func Control[In any, D Hook](s *Server[D], path string, f func(in In) (map[string]any, error)) {
	s.Mux.HandleFunc("POST "+ControlPath+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		err := checkKind(r, "application/json")
		if err == nil {
			err = json.UnmarshalRead(http.MaxBytesReader(w, r.Body, MaxBody), &in, json.RejectUnknownMembers(true))
		}
		s.control(w, err, func() (map[string]any, error) { return f(in) })
	})
}

// ControlFile registers a POST of text/csv: a bank's file, which the query gives a name and its last day. load runs as by Do.
func (s *Server[D]) ControlFile(path string, load func(f *bankfile.File, name string, lastDay time.Time) (map[string]any, error)) {
	s.Mux.HandleFunc("POST "+ControlPath+path, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		last, err := time.Parse(time.DateOnly, query.Get("last_day"))
		if err != nil {
			err = errors.New("last_day must be YYYY-MM-DD")
		} else {
			err = checkKind(r, "text/csv")
		}
		var f *bankfile.File
		if err == nil {
			f, err = bankfile.Read(r.Body)
		}
		s.control(w, err, func() (map[string]any, error) { return load(f, query.Get("name"), last) })
	})
}

func checkKind(r *http.Request, want string) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != want {
		return errors.New("the body must be " + want)
	}
	return nil
}

// control answers with what f returns, unless the request was wrong already.
func (s *Server[D]) control(w http.ResponseWriter, err error, f func() (map[string]any, error)) {
	out := map[string]any{}
	if err == nil {
		err = s.Do(func() error {
			more, err := f()
			if more != nil {
				out = more
			}
			return err
		})
	}
	if err != nil {
		s.Write(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	s.Write(w, http.StatusOK, out)
}
