package tunnel_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages of this module, each list above the next: an import
// runs from a higher line to a lower one only.
var layers = [][]string{
	{"culvert"},
}

// forbidden are imports that no order of layers would show: what runs for a
// thousand clients does not know that people read reports.
var forbidden = map[string][]string{}

const module = "culvert/tunnel/"

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Imports", "culvert/...")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// The root files alone know how a terminal is coloured and how a command line is
// declared; tests may use what they like.
func TestOnlyTheRootImportsTheCommandLineLibraries(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, library := range []string{"github.com/urfave/cli/v2", "github.com/fatih/color"} {
			if p.ImportPath != "culvert" && slices.Contains(p.Imports, library) {
				t.Errorf("%s imports %s", p.ImportPath, library)
			}
		}
	}
}

// Imports run downward through the layers.
func TestImportsRunDownward(t *testing.T) {
	t.Parallel()
	layer := make(map[string]int)
	for i, names := range layers {
		for _, name := range names {
			layer[name] = i
		}
	}
	for _, p := range listPackages(t) {
		from, known := layer[strings.TrimPrefix(p.ImportPath, module)]
		if !known {
			continue
		}
		for _, path := range p.Imports {
			to := strings.TrimPrefix(path, module)
			if at, known := layer[to]; known && at <= from {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, path)
			}
			if slices.Contains(forbidden[strings.TrimPrefix(p.ImportPath, module)], to) {
				t.Errorf("%s must not import %s", p.ImportPath, path)
			}
		}
	}
}
