package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// world is a square in Austria's place, an island beside it that is too small, a strip of Fiji across the date line, and
// Antarctica. An arc's points are steps from the one before, in tenths of a degree.
const world = `{"transform":{"scale":[0.1,0.1],"translate":[0,0]},
"arcs":[[[100,400],[100,0],[0,100],[-50,1],[-50,-1],[0,-100]],[[300,0],[4,0],[0,4],[-4,0],[0,-4]],[[1700,-100],[200,0],[0,-100],[-200,0],[0,100]],[[0,-800],[50,0],[0,-50],[-50,50]]],
"objects":{"countries":{"geometries":[
{"type":"MultiPolygon","id":"040","arcs":[[[0]],[[1]]]},
{"type":"Polygon","id":"242","arcs":[[-3]]},
{"type":"Polygon","arcs":[[1]]},
{"type":"Polygon","id":"010","arcs":[[3]]}]}}}`

func TestTheDrawingIsSimpleAndWholeAcrossTheDateLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.json")
	if err := os.WriteFile(file, []byte(world), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(file, &out); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"viewBox": "20 0 2040 982",
		"AT":      "M1056 398l55 0 0-69-55 0z",  // without the dent of a tenth of a degree, and without the island
		"FJ":      "M1944 689l0 56 112 0 0-56z", // eastwards over the edge
		"":        "M1167 633l2 0 0-2-2 0z",     // small, and all that there is
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
