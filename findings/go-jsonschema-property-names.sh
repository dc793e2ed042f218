#!/usr/bin/env bash
# Subject:   the place of an error of propertyNames, in the JSON Schema library that Helm uses for values.schema.json
# Versions:  github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
# Guess:     The error names the object with the refused key.
# Behaviour: It names the object or one of its siblings, in a random order. The check of a name keeps no place of its own, and the
#            slice with the place is shared with the check of the next property.
# Control:   An error of additionalProperties in the same object names its own place each time.
# Input:     A schema with three properties and a document that gives all of them.
# Output seen with these versions:
#   GUESS   places of the error: ['/labels']
#   SEEN    places of the error: ['/first', '/labels', '/second']
#   CONTROL places of the other error: ['/labels/ours']
set -euo pipefail

folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
export GOPATH="$folder/go" GOFLAGS=-mod=mod CGO_ENABLED=0

cd "$folder"
cat > go.mod <<'EOF'
module finding

go 1.24

require github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
EOF
cat > main.go <<'EOF'
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schema = `{"properties": {"first": {"type": "string"}, "second": {"type": "string"},
  "labels": {"propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "string"}}}}`

// places returns the sorted places that the error names in 200 validations.
func places(labels string) []string {
	found := map[string]bool{}
	for range 200 {
		compiler := jsonschema.NewCompiler()
		shape, _ := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		compiler.AddResource("schema.json", shape)
		document, _ := jsonschema.UnmarshalJSON(strings.NewReader(`{"first": "a", "second": "b", "labels": ` + labels + `}`))
		err := compiler.MustCompile("schema.json").Validate(document)
		line := strings.Split(err.Error(), "\n")[1]
		found[strings.Split(line, "'")[1]] = true
	}
	var sorted []string
	for place := range found {
		sorted = append(sorted, "'"+place+"'")
	}
	slices.Sort(sorted)
	return sorted
}

func main() {
	seen, control := strings.Join(places(`{"Not ours": "c"}`), ", "), strings.Join(places(`{"ours": 1}`), ", ")
	fmt.Println("GUESS   places of the error: ['/labels']")
	fmt.Println("SEEN    places of the error: [" + seen + "]")
	fmt.Println("CONTROL places of the other error: [" + control + "]")
	if seen != "'/first', '/labels', '/second'" || control != "'/labels/ours'" {
		fmt.Fprintln(os.Stderr, "CHANGED: this is not the behaviour described above")
		os.Exit(1)
	}
}
EOF
go run .
