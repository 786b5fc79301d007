//go:build !culvert_no_pac && ((darwin && (amd64 || arm64)) || (freebsd && (amd64 || arm64)) || (linux && (386 || amd64 || arm || arm64 || loong64 || ppc64le || riscv64 || s390x)) || (windows && (amd64 || arm64)))

package pac

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"modernc.org/quickjs"
)

// maxMemory limits the memory of a script, in bytes.
const maxMemory = 32 << 20

// execute runs a program in an engine of its own until it is done or the context ends.
// If the script fails, the error is a *fault.
func execute(ctx context.Context, p program) (answer said, err error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return said{}, fmt.Errorf("the JavaScript engine does not start: %w", err)
	}
	defer vm.Close()
	defer context.AfterFunc(ctx, vm.Interrupt)()
	vm.SetMemoryLimit(maxMemory)
	if err := vm.RegisterHostFunc(nativeCall, p.native); err != nil {
		return said{}, err
	}
	for _, source := range []string{prelude(), p.script} {
		if _, err := evaluate(ctx, vm, source); err != nil {
			return said{}, err
		}
	}
	function, err := evaluate(ctx, vm, chooseFunction)
	if err != nil {
		return said{}, err
	}
	if answer.function, _ = function.(string); answer.function == "" {
		return said{}, errNoFunction
	}
	returned, err := evaluate(ctx, vm, question(answer.function, p.url, p.host))
	if err != nil {
		return answer, err
	}
	text, _ := returned.(string)
	answer.kind, answer.text, _ = strings.Cut(text, " ")
	return answer, nil
}

// native calls the helper that the script named, for the prelude.
func (p program) native(given []any) (any, error) {
	texts := make([]string, len(given))
	for i := range given {
		texts[i], _ = given[i].(string) // the prelude passes nothing else
	}
	if len(texts) == 0 {
		return nil, errors.New("no function is named")
	}
	return p.call(texts[0], texts[1:])
}

// evaluate runs one piece of source. The engine may lose the interrupt of a context that
// ended just before the piece began. So it has a timeout too, a little later than the
// deadline of the context.
func evaluate(ctx context.Context, vm *quickjs.VM, source string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := vm.SetEvalTimeout(max(time.Until(deadline), 0) + afterwards/4); err != nil {
			return nil, err
		}
	}
	value, err := vm.Eval(source, quickjs.EvalGlobal)
	if err == nil {
		return value, nil
	}
	wrong := &fault{text: err.Error()}
	var e *quickjs.Error
	if errors.As(err, &e) {
		if wrong.line = e.LineNumber; wrong.line == 0 {
			wrong.line = lineOf(e.Stack)
		}
		if e.Name == "" { // the value that was thrown is not an Error
			wrong.text = "it threw " + wrong.text
		}
	}
	return nil, wrong
}

// lineOf returns the line of the innermost frame of the script in a stack trace, or 0. A
// frame is "at NAME (<eval>:LINE:COLUMN)" or "at <eval>:LINE:COLUMN".
func lineOf(stack string) int {
	for frame := range strings.SplitSeq(stack, "\n") {
		name, place, ok := strings.Cut(frame, "<eval>:")
		if !ok || isHelper(strings.Trim(strings.TrimPrefix(strings.TrimSpace(name), "at "), " (")) {
			continue
		}
		digits, _, _ := strings.Cut(place, ":")
		if line, err := strconv.Atoi(digits); err == nil {
			return line
		}
	}
	return 0
}
