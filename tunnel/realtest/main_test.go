package realtest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bound ends every wait of these tests that would not end by itself.
const bound = time.Minute

// buildDir has the program under test in it, once a test wants that.
var buildDir string

func TestMain(m *testing.M) {
	// Under nohup what is started would inherit that a hangup is ignored; what is
	// handled, it does not.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	// A program built with -race otherwise sleeps a second before it ends.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	var err error
	if buildDir, err = os.MkdirTemp("", "culvert-realtest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// culvert is the path of this checkout's program, which the race detector watches
// where it watches the tests.
func culvert(t testing.TB) string { return built(t, testedProgram) }

// culvertAsUsed is the program as users have it, without the race detector.
func culvertAsUsed(t testing.TB) string {
	if !raceDetector {
		return culvert(t)
	}
	return built(t, usersProgram)
}

var (
	testedProgram = sync.OnceValues(func() (string, error) { return build("tested", raceDetector) })
	usersProgram  = sync.OnceValues(func() (string, error) { return build("users", false) })
)

func built(t testing.TB, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(folder string, race bool) (path string, err error) {
	if err := listSources(); err != nil {
		return "", err
	}
	path = filepath.Join(buildDir, folder, "culvert")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-buildvcs=false", fmt.Sprint("-race=", race), "-o", path, "culvert").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
}

// listSources looks at the files that the program is made from. The go command
// sees what a test looks at, but not what it has built: it would take a changed
// program for tested, by the cached result of the one before.
func listSources() error {
	return filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		return err
	})
}
