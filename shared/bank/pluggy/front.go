package pluggy

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"maps"
	"net/url"
	"slices"

	"github.com/bkper/automations-portal/shared/bank"
)

// DefaultWidget is the script of Pluggy's widget, in the version that was tried. The package's own numbers are not those of
// this address: several newer ones are not there.
const DefaultWidget = "https://cdn.pluggy.ai/pluggy-connect/v2.8.2/pluggy-connect.js"

//go:embed widget.js
var module []byte

// hosts are what the widget needs: its script and pictures, its frame, and what it calls.
var hosts = map[string][]string{
	"script-src": {"https://cdn.pluggy.ai"}, "img-src": {"https://cdn.pluggy.ai"},
	"frame-src": {"https://connect.pluggy.ai"}, "connect-src": {"https://api.pluggy.ai"},
}

// Front gives Pluggy's widget to the page, and a year of history. A repair reads the accounts anew, those too that the person has
// opened since or consents to share only now.
func (p *Pluggy) Front() bank.Front {
	// JSON writes a text that JavaScript reads as the same, with nothing in it that could end it.
	address, err := json.Marshal(p.widget.String())
	if err != nil {
		return bank.Front{Days: history, Adds: slices.Clone(countries), Needs: needs}
	}
	front := bank.Front{Days: history, Adds: slices.Clone(countries), Needs: needs, Hosts: maps.Clone(hosts), Widget: bytes.Replace(module, []byte(`"{{script}}"`), address, 1)}
	if home := (&url.URL{Scheme: p.widget.Scheme, Host: p.widget.Host}).String(); !slices.Contains(hosts["script-src"], home) {
		for _, directive := range []string{"script-src", "frame-src", "connect-src", "img-src"} {
			front.Hosts[directive] = []string{home}
		}
	}
	return front
}
