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

// layers are the packages of this module from top to bottom. A package may import
// only packages of lower lines.
var layers = [][]string{
	{"culvert"},
	{"cli/probe", "cli/serve", "cli/dial"},
	{"audit", "localport", "cli/route", "cli/exit", "cli/journal"},
	{"proxy", "probe", "stdio"},
	{"forward", "interception", "explain", "pac", "kerberos"},
	{"client", "accesslog", "listen"},
	{"policy", "dialer", "relay"},
	{"tunnel"},
	{"internal/page", "internal/certwords", "cli/args"},
	{"internal/neterr", "internal/splice", "internal/socks", "internal/resolve", "internal/turns", "internal/quota"},
	{"internal/h2"},
	{"internal/wire", "internal/sock", "internal/textfile", "internal/ntlm", "terminal"},
	{"internal/vanish", "internal/panics", "internal/sandbox"},
}

// forTests are packages that only tests may import.
var forTests = []string{"tunneltest", "internal/testkit", "internal/proxytest", "internal/clienttest", "internal/leak", "internal/vanishtest"}

// forbidden are imports that the layers allow and that are wrong all the same.
var forbidden = map[string]func(path string) bool{
	// The shared vocabulary does not depend on its users.
	"tunnel": func(path string) bool {
		return !slices.Contains([]string{"internal/wire", "internal/neterr", "internal/textfile"}, path)
	},
	"policy": notVocabulary, "dialer": notVocabulary, "relay": notVocabulary,
	// The packages that serve clients do not depend on those that write reports.
	"proxy": forPeople, "forward": forPeople, "accesslog": forPeople,
}

func notVocabulary(path string) bool {
	return path != "tunnel" && !strings.HasPrefix(path, "internal/")
}

func forPeople(path string) bool {
	return slices.Contains([]string{"probe", "explain", "terminal", "stdio"}, path)
}

const module = "culvert/tunnel/"

// listed is one package in the output of go list.
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

// Only the root files may import the libraries for colours and the command line.
// Tests may import both.
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

// Every package is in a layer and imports only packages of lower layers.
func TestImportsRunDownward(t *testing.T) {
	t.Parallel()
	layer := make(map[string]int)
	for i, names := range layers {
		for _, name := range names {
			layer[name] = i
		}
	}
	for _, p := range listPackages(t) {
		name := shortName(p.ImportPath)
		from, known := layer[name]
		testOnly := slices.Contains(forTests, name) || strings.HasPrefix(name, "realtest")
		if !known && !testOnly {
			t.Errorf("%s is in no layer: add it to the variable layers in imports_test.go", p.ImportPath)
		}
		for _, path := range p.Imports {
			to := shortName(path)
			if to == path && path != "culvert" {
				continue // of another module
			}
			if slices.Contains(forTests, to) && !testOnly {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, path)
			}
			if at, ok := layer[to]; ok && known && at <= from {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, path)
			}
			if forbids := forbidden[name]; forbids != nil && forbids(to) {
				t.Errorf("%s must not import %s", p.ImportPath, path)
			}
		}
	}
}

// shortName returns the name that layers has for the import path of a package of this
// module. It returns any other path as it is.
func shortName(path string) string {
	if path == "culvert/tunnel" {
		return "tunnel"
	}
	return strings.TrimPrefix(path, module)
}
