// Command worldmap draws the countries of the page's map. It reads the countries of Natural Earth 1:110m as TopoJSON, which
// the npm package world-atlas holds as countries-110m.json, and writes the outlines as SVG paths by ISO code. It is run by
// hand, about once in ten years: the drawing is kept.
//
//	go run ./functions/portal/worldmap countries-110m.json > functions/portal/page/world.json
//
// Natural Earth is in the public domain (https://www.naturalearthdata.com/about/terms-of-use/).
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

const (
	width     = 2000.0 // of the drawing, for 360 degrees
	north     = 83.7   // the drawing's edges, in degrees; nobody banks in Antarctica
	south     = -56.0
	tolerance = 1.1 // how far a line may be from where it was, in units of the drawing
	smallest  = 9.0 // islands of less, in square units, are left out, unless they are all that there is of a country
)

// topology is TopoJSON (https://github.com/topojson/topojson-specification).
type topology struct {
	Transform struct {
		Scale, Translate [2]float64
	}
	Arcs    [][][2]float64
	Objects struct {
		Countries struct {
			Geometries []geometry
		}
	}
}

type geometry struct {
	ID   string // ISO 3166-1 numeric; some territories have none
	Type string
	Arcs json.RawMessage
}

type point struct{ x, y float64 }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "worldmap: name the file countries-110m.json")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worldmap:", err)
		os.Exit(1)
	}
}

func run(file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var t topology
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	arcs := t.project()
	drawn := map[string]string{}
	for _, g := range t.Objects.Countries.Geometries {
		rings, err := g.rings(arcs)
		if err != nil {
			return err
		}
		if code := alpha2(g.ID); code != "AQ" {
			drawn[code] += path(rings)
		}
	}
	return write(out, drawn)
}

// write writes one country a line, those without a code first.
func write(out io.Writer, drawn map[string]string) error {
	_, bottom := miller(0, south)
	lines := []string{fmt.Sprintf(`"viewBox":"20 0 %.0f %.0f"`, width+40, bottom)} // the east of Siberia lies beyond the edge
	for _, code := range slices.Sorted(maps.Keys(drawn)) {
		lines = append(lines, fmt.Sprintf("%q:%q", code, drawn[code]))
	}
	if _, err := io.WriteString(out, "{"+strings.Join(lines, ",\n")+"}\n"); err != nil {
		return fmt.Errorf("write the outlines: %w", err)
	}
	return nil
}

// alpha2 is a country's ISO code of two letters; "" where it has none.
func alpha2(numeric string) string {
	n, err := strconv.Atoi(numeric)
	if err != nil {
		return ""
	}
	region, err := language.EncodeM49(n)
	if err != nil {
		return ""
	}
	return region.String()
}

// miller is Miller's cylindrical projection: it keeps Europe, where most of the banks are, large enough to be clicked.
func miller(longitude, latitude float64) (x, y float64) {
	scale := width / (2 * math.Pi)
	up := func(degrees float64) float64 { return 1.25 * math.Log(math.Tan(math.Pi/4+0.4*degrees*math.Pi/180)) }
	return (longitude + 180) / 360 * width, (up(north) - up(latitude)) * scale
}

// project decodes the arcs, and simplifies each by itself, so that neighbours go on sharing their border.
func (t *topology) project() [][]point {
	var all [][]point
	for _, arc := range t.Arcs {
		var at [2]float64
		var line []point
		for _, delta := range arc {
			at[0], at[1] = at[0]+delta[0], at[1]+delta[1]
			x, y := miller(at[0]*t.Transform.Scale[0]+t.Transform.Translate[0], at[1]*t.Transform.Scale[1]+t.Transform.Translate[1])
			if len(line) > 0 {
				x = beside(x, line[len(line)-1].x)
			}
			line = append(line, point{x, y})
		}
		all = append(all, simplify(line))
	}
	return all
}

// beside moves x round the world to where it lies next to another: outlines cross the edge of the drawing.
func beside(x, other float64) float64 { return x - width*math.Round((x-other)/width) }

// simplify is Douglas and Peucker's algorithm.
func simplify(line []point) []point {
	if len(line) < 3 {
		return line
	}
	first, last, far, most := line[0], line[len(line)-1], 0, 0.0
	for i, p := range line[1 : len(line)-1] {
		if d := distance(p, first, last); d > most {
			far, most = i+1, d
		}
	}
	if most <= tolerance {
		return []point{first, last}
	}
	head := simplify(line[:far+1])
	return append(slices.Clone(head[:len(head)-1]), simplify(line[far:])...)
}

// distance is that of p from the line between a and b, or from a where they are one.
func distance(p, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	if dx == 0 && dy == 0 {
		return math.Hypot(p.x-a.x, p.y-a.y)
	}
	return math.Abs(dx*(a.y-p.y)-dy*(a.x-p.x)) / math.Hypot(dx, dy)
}

// rings joins the arcs of a country's outlines; ^n is arc n backwards.
func (g geometry) rings(arcs [][]point) ([][]point, error) {
	var polygons [][][]int
	var err error
	if g.Type == "Polygon" {
		polygons = make([][][]int, 1)
		err = json.Unmarshal(g.Arcs, &polygons[0])
	} else {
		err = json.Unmarshal(g.Arcs, &polygons)
	}
	if err != nil {
		return nil, fmt.Errorf("outlines: %w", err)
	}
	var rings [][]point
	for _, outline := range slices.Concat(polygons...) {
		var ring []point
		for _, n := range outline {
			arc := arcs[max(n, ^n)]
			if n < 0 {
				arc = slices.Clone(arc)
				slices.Reverse(arc)
			}
			for _, p := range arc[:len(arc)-1] {
				if len(ring) > 0 {
					p.x = beside(p.x, ring[len(ring)-1].x)
				}
				ring = append(ring, p)
			}
		}
		rings = append(rings, inside(ring))
	}
	return rings, nil
}

// inside moves a ring round the world so that most of it lies on the drawing.
func inside(ring []point) []point {
	sum := 0.0
	for _, p := range ring {
		sum += p.x
	}
	by := width * math.Floor(sum/float64(len(ring))/width)
	for i := range ring {
		ring[i].x -= by
	}
	return ring
}

// area is the surface that a ring encloses.
func area(ring []point) float64 {
	sum := 0.0
	for i, p := range ring {
		next := ring[(i+1)%len(ring)]
		sum += p.x*next.y - next.x*p.y
	}
	return math.Abs(sum) / 2
}

// path writes rings as relative moves between whole units, which is short.
func path(rings [][]point) string {
	largest := 0.0
	for _, ring := range rings {
		largest = max(largest, area(ring))
	}
	var b strings.Builder
	for _, ring := range rings {
		if size := area(ring); size < smallest && size < largest || len(ring) < 3 {
			continue
		}
		x, y := round(ring[0])
		fmt.Fprintf(&b, "M%d %d", x, y)
		command := "l"
		for _, p := range ring[1:] {
			toX, toY := round(p)
			if toX == x && toY == y {
				continue
			}
			fmt.Fprintf(&b, "%s%d %d", command, toX-x, toY-y)
			x, y, command = toX, toY, " "
		}
		b.WriteString("z")
	}
	return strings.NewReplacer(" -", "-", "l ", "l").Replace(b.String())
}

func round(p point) (x, y int) { return int(math.Round(p.x)), int(math.Round(p.y)) }
