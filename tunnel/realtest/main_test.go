package realtest

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// bound ends every wait of these tests that would not end by itself.
const bound = time.Minute

var (
	// tempDir is for what tests share, the program under test first.
	tempDir string

	exitCode atomic.Int32
	cleanups struct {
		mu    sync.Mutex
		funcs []func()
	}
)

// atTheEnd calls f when all tests have ended.
func atTheEnd(f func()) {
	cleanups.mu.Lock()
	defer cleanups.mu.Unlock()
	cleanups.funcs = append(cleanups.funcs, f)
}

func TestMain(m *testing.M) {
	// Under nohup, and in the background of a script, what is started would inherit
	// that signals are ignored; what is handled, it does not.
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel { // most tests wait for another program most of the time
		flag.Set("test.parallel", fmt.Sprint(4*runtime.GOMAXPROCS(0)))
	}
	var err error
	if tempDir, err = os.MkdirTemp("", "culvert-realtest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// What the race detector finds in any program ends up there. A program built
	// with it otherwise sleeps a second before it ends.
	races := filepath.Join(tempDir, "race")
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0 log_path="+races))
	exitCode.Store(int32(m.Run()))
	var ending sync.WaitGroup
	for _, f := range cleanups.funcs {
		ending.Go(f)
	}
	ending.Wait()
	found, _ := filepath.Glob(races + ".*")
	for _, file := range found {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(os.Stderr, "the race detector says of a program that the tests ran:\n%s\n", text)
		exitCode.Store(1)
	}
	os.RemoveAll(tempDir)
	os.Exit(int(exitCode.Load()))
}

// culvert is the path of this checkout's program, built with the first test that
// wants it. The race detector watches it where it watches the tests.
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
	path = filepath.Join(tempDir, folder, "culvert")
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
