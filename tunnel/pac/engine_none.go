//go:build culvert_no_pac || !((darwin && (amd64 || arm64)) || (freebsd && (amd64 || arm64)) || (linux && (386 || amd64 || arm || arm64 || loong64 || ppc64le || riscv64 || s390x)) || (windows && (amd64 || arm64)))

package pac

import (
	"context"
	"errors"
)

// execute returns an error, as there is no engine to run a script.
func execute(context.Context, program) (said, error) {
	return said{}, errors.New("this build of culvert has no JavaScript engine")
}
