// Command new-bank writes the skeleton of one more provider of bank data: its adapter and its sandbox, which say of everything
// that it is not written yet, and the few lines elsewhere by which the project knows it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const usage = `new-bank writes the skeleton of one more provider of bank data.

  scripts/new-bank NAME    NAME is what connections and webhook URLs will call it for ever, such as tink

It makes shared/bank/NAME with the suite that every provider passes, and shared/sandbox/NAME, which answers 501; and it adds
the provider to shared/config, functions/app, and the README and the examples in infra. What is there already it leaves alone.
`

const next = `
Next:
  1. Let shared/sandbox/%[1]s speak as the service does, and theBank in shared/bank/%[1]s/suite_test.go play the bank by it.
  2. Write shared/bank/%[1]s/%[1]s.go until this passes, which fails now because nothing is written:
     scripts/test ./shared/bank/%[1]s
  3. Mount the sandbox in scripts/internal/world, and say in shared/config and infra/README.md what has to be set.
Without a key in its configuration it is not served, and until Countries names some nobody is sent to it.
`

func main() {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "new-bank:", err)
		os.Exit(1)
	}
}

// run extends the project in which the program was built: scripts/cmd/run puts it into the folder bin there.
func run(name string, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	root := filepath.Dir(filepath.Dir(program))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return errors.New("call it as scripts/new-bank")
	}
	return extend(root, name, out)
}

// extend writes what is missing. Nothing is written where something of it cannot be.
func extend(root, name string, out io.Writer) error {
	b, err := named(root, name)
	if err != nil {
		return err
	}
	files, err := b.files(root)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.text == nil {
			fmt.Fprintf(out, "%-10s%s\n", "is there", f.path)
			continue
		}
		done := map[bool]string{true: "made", false: "changed"}[f.made]
		at := filepath.Join(root, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, f.text, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "%-10s%s\n", done, f.path)
	}
	fmt.Fprintf(out, next, b.Name)
	return nil
}
