package pac

import (
	"fmt"
	"slices"
	"strings"
)

// nativeCall is the engine's name for program.call, until the prelude took it.
const nativeCall = "culvertCall"

// prelude defines the helper functions in a fresh engine. A script may put its
// own in their place, as some do.
//
// shExpMatch is a regular expression in all but three characters, as in Firefox
// and in Chromium: a dot is a dot, * any text, ? any character, and what else a
// pattern has means what it means to RegExp, so that (a|b) and [0-9] work and
// a lone ( throws.
func prelude() string {
	var defined []string
	for name, h := range helpers {
		defined = append(defined, fmt.Sprintf("helper(%q, %d);", name, h.least))
	}
	slices.Sort(defined)
	return `(function (call) {
"use strict";
const text = String, Pattern = RegExp;
function helper(name, least) {
	globalThis[name] = {[name](...given) {
		const args = [];
		for (let i = 0; i < least || i < given.length; i++) args[i] = text(given[i]);
		return call(name, ...args);
	}}[name];
}
` + strings.Join(defined, "\n") + `
globalThis.shExpMatch = function shExpMatch(string, pattern) {
	const means = {".": "\\.", "*": ".*", "?": "."};
	return new Pattern("^" + text(pattern).replace(/[.*?]/g, (c) => means[c]) + "$").test(text(string));
};
delete globalThis.` + nativeCall + `;
})(` + nativeCall + `);`
}

// isHelper reports whether an engine's stack frame is the prelude's.
func isHelper(name string) bool {
	return helpers[name].call != nil || name == "shExpMatch" || name == questionName
}

// questionName is the function that asks, for stack frames.
const questionName = "culvertAsk"

// chooseFunction is an expression: the function to ask, or "". The one with Ex
// is Windows' alone; browsers elsewhere ask the other, so it counts only where
// a script has no other.
const chooseFunction = `typeof FindProxyForURL === "function" ? "FindProxyForURL" :
	typeof FindProxyForURLEx === "function" ? "FindProxyForURLEx" : ""`

// question is an expression: the kind of the answer, and behind a space its
// text if it is one.
func question(function, url, host string) string {
	return fmt.Sprintf(`(function %s() {
const answer = %s(%q, %q);
return answer === null ? "null" : typeof answer === "string" ? "string " + answer : typeof answer;
})()`, questionName, function, url, host)
}
