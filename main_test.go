package main

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

// bound limits every wait of these tests that may not end by itself.
const bound = time.Minute

func TestMain(m *testing.M) {
	// Under nohup, and in the background of a script, signals are ignored, and programs
	// that are started inherit that. They do not inherit handlers.
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if signal.Ignored(s) && strings.HasSuffix(os.Args[0], ".test") {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	testscript.Main(m, map[string]func(){
		"culvert": main,
		// The environment of a script, for commands that start programs themselves.
		"script-environ": func() { fmt.Print(strings.Join(os.Environ(), "\x00")) },
		// A command for --exec that half-closes and reads to the end.
		"half-close": func() {
			fmt.Println("all")
			syscall.Shutdown(1, syscall.SHUT_WR)
			io.Copy(os.Stderr, os.Stdin)
		},
		"wait-for-signal": func() {
			exitOnSignal()
			fmt.Println("ready")
			time.Sleep(bound)
		},
		"culvert-panics": func() { withVerb(func(*cli.Context) error { panic("no way out") }) },
		"culvert-silent": func() { withVerb(func(*cli.Context) error { return exit.Code(11) }) },
	})
}

// withVerb is a main in which dial runs the action.
func withVerb(action cli.ActionFunc) {
	l := newCommandLine()
	l.app.Command("dial").Action = action
	os.Exit(l.end(os.Args[1:]))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			// NL and ESC cannot be written in a script. A program built with -race
			// otherwise sleeps a second before it ends.
			env.Vars = append(env.Vars, "TERM=xterm", "NL=\n", "ESC=\x1b", "GORACE=atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, words []string){
			"exits":          cmdExits,
			"listen-echo":    cmdListenEcho,
			"scripted-proxy": cmdScriptedProxy,
			"culvert-serve":  cmdCulvertServe,
		},
	})
}

// cmdExits runs "exits CODE PROGRAM [ARG...]": the program must end with CODE.
func cmdExits(ts *testscript.TestScript, neg bool, words []string) {
	if neg || len(words) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(words[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(words[1], words[2:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdListenEcho runs "listen-echo NAME": $NAME is HOST:PORT of a listener that
// sends back what it gets, half-close for half-close, until the script ends.
func cmdListenEcho(ts *testscript.TestScript, neg bool, words []string) {
	if neg || len(words) != 1 {
		ts.Fatalf("usage: listen-echo NAME")
	}
	ts.Setenv(words[0], acceptEach(ts, func(conn *net.TCPConn) {
		io.Copy(conn, conn)
		conn.CloseWrite()
	}))
}

// cmdScriptedProxy runs "scripted-proxy NAME FILE": $NAME is HOST:PORT of a
// listener that appends each request head to $WORK/NAME.requests, answers with
// FILE's lines joined, their Go escapes such as \r\n undone, and hangs up.
func cmdScriptedProxy(ts *testscript.TestScript, neg bool, words []string) {
	if neg || len(words) != 2 {
		ts.Fatalf("usage: scripted-proxy NAME FILE")
	}
	text := strings.NewReplacer("\n", "", `"`, `\"`).Replace(ts.ReadFile(words[1]))
	answer, err := strconv.Unquote(`"` + text + `"`)
	ts.Check(err)
	requests, err := os.Create(ts.MkAbs(filepath.Join(ts.Getenv("WORK"), words[0]+".requests")))
	ts.Check(err)
	ts.Defer(func() { requests.Close() })
	ts.Setenv(words[0], acceptEach(ts, func(conn *net.TCPConn) {
		var head strings.Builder
		for r := bufio.NewReader(conn); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
			line, err := r.ReadString('\n')
			head.WriteString(line)
			if err != nil {
				break
			}
		}
		// Written before the answer, so that it is there when the client has ended.
		requests.WriteString(head.String())
		io.WriteString(conn, answer)
		conn.CloseWrite()
		// Closing over unread bytes would reset the connection and lose the answer.
		io.Copy(io.Discard, conn)
	}))
}

// acceptEach accepts connections and serves each on a goroutine of its own. At the end
// of the script it closes them all and waits for the goroutines. It returns the
// listener's address.
func acceptEach(ts *testscript.TestScript, serve func(*net.TCPConn)) string {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	ts.Check(err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			conn.SetDeadline(time.Now().Add(bound))
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	ts.Defer(func() {
		ln.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// cmdCulvertServe runs "culvert-serve NAME [ARG...]": $NAME is HOST:PORT, or
// the socket's path, of the first listener of culvert serve --listen
// 127.0.0.1:0 ARG... (or of the --listen among ARG). Its stderr is appended to
// $WORK/NAME.log; it is killed when the script ends.
func cmdCulvertServe(ts *testscript.TestScript, neg bool, words []string) {
	if neg || len(words) == 0 {
		ts.Fatalf("usage: culvert-serve NAME [ARG...]")
	}
	flags := append([]string{"serve"}, words[1:]...)
	if !strings.Contains(strings.Join(flags, " "), "--listen") {
		flags = append(flags, "--listen", "127.0.0.1:0")
	}
	ts.Check(ts.Exec("script-environ"))
	environ := strings.Split(ts.ReadFile("stdout"), "\x00")
	log, err := os.Create(ts.MkAbs(filepath.Join(ts.Getenv("WORK"), words[0]+".log")))
	ts.Check(err)
	path, err := exec.LookPath("culvert")
	ts.Check(err)
	cmd := exec.Command(path, flags...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), environ
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	first := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		r := bufio.NewReader(io.TeeReader(stderr, log))
		line, _ := r.ReadString('\n')
		first <- line
		io.Copy(io.Discard, r)
	})
	ts.Defer(func() {
		cmd.Process.Kill()
		wg.Wait()
		cmd.Wait()
		log.Close()
	})
	select {
	case line := <-first:
		_, at, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
		if !ok {
			ts.Fatalf("culvert serve said %q", line)
		}
		_, hostport, found := strings.Cut(at, "://")
		if !found {
			hostport = strings.TrimPrefix(at, "unix:")
		}
		ts.Setenv(words[0], hostport)
	case <-time.After(bound):
		ts.Fatalf("culvert serve said nothing")
	}
}

// urfave has the same flags as the parser.
func TestUrfaveHasTheFlagsOfTheTable(t *testing.T) {
	l := newCommandLine()
	check := func(verb string, flags []cli.Flag) {
		var want, got []string
		for _, f := range l.flags[verb] {
			want = append(want, strings.Join(append([]string{f.Name}, f.Aliases...), ","))
		}
		for _, f := range flags {
			got = append(got, strings.Join(f.Names(), ","))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: urfave has %q, the table %q", verb, got, want)
		}
	}
	check("", l.app.Flags)
	for _, c := range l.app.Commands {
		check(c.Name, c.Flags)
	}
}

// Every name by which code reads a flag is in a table, with the kind that it is read
// as; and every flag in a table is read somewhere.
func TestFlagsAreReadByTheNamesInTheTables(t *testing.T) {
	kinds := map[string][]args.Kind{}
	for _, table := range flagTables() {
		for _, f := range table {
			kinds[f.Name] = append(kinds[f.Name], f.Kind)
		}
	}
	readAs := map[string]args.Kind{
		"String": args.Text, "Strings": args.List, "Bool": args.Switch, "Duration": args.Duration, "Timeout": args.Duration, "Int": args.Number,
	}
	const any = args.Kind(-1)
	for _, method := range []string{"Last", "Source", "IsSet", "IsTyped", "IsGiven", "Set", "Rewrite", "Mistake", "Has", "set", "typed"} {
		readAs[method] = any
	}
	read := map[string]bool{}
	for _, f := range commandLineSource(t) {
		check := func(e ast.Expr, kind args.Kind) {
			literal, ok := e.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return
			}
			name, _ := strconv.Unquote(literal.Value)
			read[name] = true
			if has := kinds[name]; has == nil || kind != any && !slices.Contains(has, kind) {
				t.Errorf("%s reads a flag %q that no table has, or not of this kind", f.Name, name)
			}
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch called := n.Fun.(type) {
				case *ast.SelectorExpr:
					if kind, ok := readAs[called.Sel.Name]; ok && len(n.Args) > 0 {
						check(n.Args[0], kind)
					}
				case *ast.Ident:
					if called.Name == "each" { // of serve: each value of a List
						check(n.Args[1], args.List)
					}
				}
			case *ast.CompositeLit:
				if named, ok := n.Type.(*ast.SelectorExpr); ok && named.Sel.Name == "Names" {
					for _, name := range n.Elts {
						check(name, any)
					}
				}
			}
			return true
		})
	}
	for name := range kinds {
		if !read[name] {
			t.Errorf("nothing reads --%s", name)
		}
	}
}

// source is a file of the command line.
type source struct {
	Name string
	*ast.File
}

// commandLineSource parses the root's files, and those of tunnel/cli.
func commandLineSource(t *testing.T) (files []source) {
	t.Helper()
	for _, pattern := range []string{"*.go", "tunnel/cli/*/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, source{name, f})
		}
	}
	return files
}

// start starts one of TestMain's commands, and kills it if it takes too long. It
// returns a reader of its stdout.
func start(t *testing.T, name string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return cmd, bufio.NewReader(stdout)
}

func TestSignalEndsWith128AndItsNumber(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			cmd, stdout := start(t, "wait-for-signal")
			if line, err := stdout.ReadString('\n'); err != nil {
				t.Fatal(line, err)
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if got, want := cmd.ProcessState.ExitCode(), 128+int(s); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
		})
	}
}

func TestReportGivesTheExitCode(t *testing.T) {
	refused := &tunnel.Error{Phase: tunnel.PhaseReply, Status: 403, Type: tunnel.ErrorDenied}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"unexpected", errors.New("out of luck"), 1},
		{"usage", args.Usagef("hint", "bad"), 2},
		{"tunnel error", fmt.Errorf("dial: %w", refused), 6},
		{"tunnel error with a hint", &exit.Error{Err: refused, Hint: "ask"}, 6},
		{"own code", &exit.Error{Err: refused, Code: 11}, 11},
		{"silent", exit.Code(11), 11},
		{"reader of stdout gone", exit.Stdout(fmt.Errorf("write: %w", syscall.EPIPE)), 141},
		{"disk full", exit.Stdout(syscall.ENOSPC), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newCommandLine().report(tt.err); got != tt.want {
				t.Errorf("report(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}
