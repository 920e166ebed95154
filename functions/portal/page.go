package portal

import (
	_ "embed" // the files below
	"net/http"
)

//go:embed index.html
var page []byte

//go:embed openapi.json
var openapi []byte

// index says where a person is, and where the description of the functions lies.
func (p *Portal) index(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := w.Write(page)
	return err
}

// document serves the OpenAPI description of every function that a page or a person calls.
func document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openapi)
	return err
}
