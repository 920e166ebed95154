package webtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/getkin/kin-openapi/openapi3"
)

func codeOf(body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &problem) != nil {
		return ""
	}
	return problem.Code
}

// Unexercised lists the operations, such as "POST /link", that were never answered with a status below 400.
func (c *Contract) Unexercised() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.operations() {
		if !c.exercised[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Unseen lists the documented answers that were never given, such as "POST /link 409 already_linked". Those by which a
// service says that it, or another one, is out of order are left out.
func (c *Contract) Unseen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, o := range c.operations() {
		for status, response := range o.Responses.Map() {
			n, err := strconv.Atoi(status)
			if err != nil || n >= http.StatusInternalServerError {
				continue
			}
			for _, code := range codes(response.Value) {
				if a := (answer{name, n, code}); !c.seen[a] {
					names = append(names, a.String())
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

func (c *Contract) operations() map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range c.doc.Paths.Map() {
		for method, o := range item.Operations() {
			all[method+" "+path] = o
		}
	}
	return all
}

// codes are those that a response narrows the member "code" of a problem to; one empty text where it narrows nothing.
func codes(r *openapi3.Response) []string {
	for _, media := range r.Content {
		if media.Schema == nil {
			continue
		}
		for _, part := range media.Schema.Value.AllOf {
			code := part.Value.Properties["code"]
			if code == nil || len(code.Value.Enum) == 0 {
				continue
			}
			var all []string
			for _, v := range code.Value.Enum {
				if text, ok := v.(string); ok {
					all = append(all, text)
				}
			}
			return all
		}
	}
	return []string{""}
}
