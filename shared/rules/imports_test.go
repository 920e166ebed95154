package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// layers: a package imports packages of its own folder and of layers above it in this list, never one of its own layer.
var layers = [][]string{
	{"shared/secret", "shared/logs", "shared/sqlitefile"},
	{"shared/bank", "shared/config", "shared/telemetry"},
	{"shared/ledger", "shared/store", "shared/vault", "shared/events"},
	{"shared/posting", "shared/caller"},
	{"shared/web", "shared/view"},
	{"shared/access"},
	{"shared/session"},
	{"functions/*"},
	{"functions/app"},
	{"functions/main"},
}

// folder is what a package belongs to, and the layer of it; -1 where it has none.
func folder(name string) (string, int) {
	parts := strings.Split(name, "/")
	home := strings.Join(parts[:min(2, len(parts))], "/")
	for i, layer := range layers {
		if slices.Contains(layer, home) {
			return home, i
		}
	}
	if parts[0] == "functions" {
		return home, slices.IndexFunc(layers, func(l []string) bool { return l[0] == "functions/*" })
	}
	return home, -1
}

// aside reports whether a package is for development and tests only: what lies in a folder whose name ends in test is.
func aside(name string) bool {
	return below(name, "scripts", "infra", "shared/sandbox", "shared/rules", "shared/posting/sim") || strings.Contains(name+"/", "test/")
}

func isOurs(name string) bool { return below(name, "shared", "functions", "scripts", "infra") }

// adapter is the part of a name that says which adapter a package belongs to; empty where it belongs to none.
func adapter(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) < 3 || !below(name, "shared/bank", "shared/ledger", "shared/store", "shared/vault", "shared/events") {
		return ""
	}
	if aside(name) || parts[2] == "internal" || parts[2] == "push" {
		return ""
	}
	return strings.Join(parts[:3], "/")
}

// homes says which packages alone, with those below them, import an SDK.
var homes = map[string][]string{
	"github.com/plaid/plaid-go":                             {"shared/bank/plaid"},
	"cloud.google.com/go/firestore":                         {"shared/store/firestore"},
	"cloud.google.com/go/pubsub":                            {"shared/events/pubsub"},
	"cloud.google.com/go/secretmanager":                     {"shared/vault/secretmanager", "shared/sandbox/secretmanager"},
	"modernc.org/sqlite":                                    {"shared/sqlitefile", "shared/sandbox/disk"},
	"github.com/GoogleCloudPlatform/functions-framework-go": {"functions/main"},
	"github.com/getkin/kin-openapi":                         {"shared/web/webtest"},
	"github.com/schollz/progressbar":                        {"scripts"},
	"github.com/google/go-containerregistry":                {"scripts/cmd/image"},
	"go.opentelemetry.io":                                   {"shared/telemetry"},
}

// instead says what stands in for a module that others use; its second version is another module.
var instead = map[string]string{
	"github.com/gin-gonic":        "net/http",
	"github.com/labstack/echo":    "net/http",
	"github.com/go-chi/chi":       "net/http",
	"github.com/gorilla":          "net/http",
	"github.com/gofiber":          "net/http",
	"github.com/stretchr/testify": "testing and go-cmp",
	"github.com/spf13/viper":      "shared/config",
	"go.uber.org/zap":             "log/slog",
	"github.com/sirupsen/logrus":  "log/slog",
	"github.com/pkg/errors":       "errors and fmt",
	"math/rand":                   "math/rand/v2, or crypto/rand for what must not be guessed",
	"cloud.google.com/go/pubsub":  "pubsub/v2; Google's support of the first ends in December 2026",
}

var importRules = []rule{
	{
		name:  "arrows run one way",
		why:   "whoever reads a layer needs to know those above it in the list only, and a change reaches those below it only",
		check: oneWay,
		fine: []plant{
			imports("functions/link", "shared/bank", "net/http"), imports("shared/store/sqlite", "shared/store", "shared/sqlitefile"),
			imports("functions/app", "functions/link"), imports("shared/web/webtest", "functions/link"),
		},
		plants: []plant{
			imports("shared/secret", "shared/bank"), imports("shared/bank", "shared/store"), imports("shared/store/sqlite", "shared/vault"),
			imports("shared/posting", "functions/poster"), imports("functions/connect", "functions/app"), imports("shared/brandnew"),
		},
	},
	{
		name:   "functions never import functions",
		why:    "each is deployed by itself, with its own rights; what two of them need belongs to shared",
		check:  functionsApart,
		fine:   []plant{imports("functions/app", "functions/link"), imports("functions/main", "functions/app"), imports("functions/link", "shared/bank")},
		plants: []plant{imports("functions/connect", "functions/link"), imports("functions/link/parts", "functions/connect")},
	},
	{
		name:  "only functions/app chooses adapters",
		why:   "the others know an interface, so that a store, a queue, a ledger or a bank is exchanged in one place",
		check: adaptersApart,
		fine: []plant{
			imports("functions/app", "shared/bank/plaid"), imports("scripts/cmd/dev", "shared/ledger/bkper"), imports("shared/store", "shared/store/internal/txn"),
			imports("shared/events/pubsub/puller", "shared/events/pubsub", "shared/events/push"), imports("shared/posting/sim", "shared/store/memory"),
		},
		plants: []plant{
			imports("functions/connect", "shared/bank/plaid"), imports("shared/posting", "shared/store/firestore"),
			imports("shared/events/sqlite", "shared/events/pubsub"), imports("functions/main", "shared/vault/sqlite"),
		},
	},
	{
		name:  "production never links the sandbox or tests",
		why:   "a stand-in for a bank or for Google's sign-in, reachable in production, would be a way in",
		check: productionAlone,
		fine:  []plant{links("functions/main", "shared/bank", "net/http")},
		plants: []plant{
			links("functions/main", "shared/sandbox/plaid"), links("shared/store/storetest"), links("shared/bank/banktest/toybank"), links("shared/posting/sim"),
			links("testing"), links("net/http/httptest"), imports("shared/posting", "shared/sandbox/bkper"),
		},
	},
	{
		name:  "every SDK stays at home",
		why:   "an SDK's types and errors that wander make its next major version everybody's work",
		check: sdksAtHome,
		fine: []plant{
			imports("shared/bank/plaid", "github.com/plaid/plaid-go/v20/plaid"), imports("shared/events/pubsub/puller", "cloud.google.com/go/pubsub/v2"),
			imports("shared/bank", "cloud.google.com/go/civil"),
		},
		plants: []plant{
			imports("shared/bank", "github.com/plaid/plaid-go/v20/plaid"), imports("functions/link", "cloud.google.com/go/firestore"),
			imports("shared/store/sqlite", "modernc.org/sqlite/lib"),
		},
	},
	{
		name:  "the standard library first",
		why:   "one way to serve, to log, to configure and to test; what is not there needs no upgrade",
		check: standardFirst,
		fine:  []plant{imports("shared/web", "net/http"), imports("shared/posting", "math/rand/v2"), imports("shared/events/pubsub", "cloud.google.com/go/pubsub/v2")},
		plants: []plant{
			imports("shared/web", "github.com/gin-gonic/gin"), imports("shared/posting", "math/rand"), imports("shared/events/pubsub", "cloud.google.com/go/pubsub"),
			func(*testing.T) *tree {
				return &tree{packages: []pkg{{name: "shared/bank", tested: []string{"github.com/stretchr/testify/require"}}}}
			},
		},
	},
}

func links(names ...string) plant {
	return func(*testing.T) *tree { return &tree{linked: names} }
}

func oneWay(t *tree) (violations []string) {
	for _, p := range t.packages {
		if aside(p.name) {
			continue
		}
		home, layer := folder(p.name)
		if layer < 0 {
			violations = append(violations, fmt.Sprintf("%s stands in no layer; say in shared/rules where it belongs", p.name))
			continue
		}
		for _, imported := range p.imports {
			if !isOurs(imported) || aside(imported) {
				continue
			}
			if other, above := folder(imported); other != home && above >= layer {
				violations = append(violations, fmt.Sprintf("%s imports %s", p.name, imported))
			}
		}
	}
	return violations
}

func functionsApart(t *tree) (violations []string) {
	for _, p := range t.packages {
		home, _ := folder(p.name)
		if !below(p.name, "functions") || below(p.name, "functions/app", "functions/main") {
			continue
		}
		for _, imported := range p.imports {
			if other, _ := folder(imported); below(imported, "functions") && other != home {
				violations = append(violations, fmt.Sprintf("%s imports %s", p.name, imported))
			}
		}
	}
	return violations
}

func adaptersApart(t *tree) (violations []string) {
	for _, p := range t.packages {
		if aside(p.name) || p.name == "functions/app" {
			continue
		}
		for _, imported := range p.imports {
			if a := adapter(imported); a != "" && a != adapter(p.name) {
				violations = append(violations, fmt.Sprintf("%s imports %s", p.name, imported))
			}
		}
	}
	return violations
}

func productionAlone(t *tree) (violations []string) {
	for _, name := range t.linked {
		if (isOurs(name) && aside(name)) || name == "testing" || name == "net/http/httptest" {
			violations = append(violations, "functions/main links "+name)
		}
	}
	for _, p := range t.packages {
		for _, imported := range p.imports {
			if !aside(p.name) && isOurs(imported) && aside(imported) {
				violations = append(violations, fmt.Sprintf("%s imports %s", p.name, imported))
			}
		}
	}
	return violations
}

func sdksAtHome(t *tree) (violations []string) {
	for _, p := range t.packages {
		for _, imported := range p.imports {
			for sdk, at := range homes {
				if below(imported, sdk) && !below(p.name, at...) {
					violations = append(violations, fmt.Sprintf("%s imports %s, whose home is %s", p.name, imported, strings.Join(at, " or ")))
				}
			}
		}
	}
	return violations
}

func standardFirst(t *tree) (violations []string) {
	for _, p := range t.packages {
		for _, imported := range slices.Concat(p.imports, p.tested) {
			for unwanted, use := range instead {
				if below(imported, unwanted) && !below(imported, unwanted+"/v2") {
					violations = append(violations, fmt.Sprintf("%s imports %s; use %s", p.name, imported, use))
				}
			}
		}
	}
	return violations
}
