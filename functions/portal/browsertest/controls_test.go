package browsertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screen is what a window shows, or a part of it.
type screen struct {
	*window
	node  cdp.BackendNodeID // 0 is all
	where string            // in words
	root  string            // the document in JavaScript, where it is not the window's own
}

// frame is what the frame over the page shows, whichever page it is at.
func (b *window) frame() screen {
	return screen{window: b, where: " in the frame", root: `((d) => d?.readyState === "complete" && d.body ? d : null)(document.querySelector("dialog iframe")?.contentDocument)`}
}

// document is in JavaScript.
func (b screen) document() string { return cmp.Or(b.root, "document") }

// control is something that is shown, with what a screen reader says of it.
type control struct {
	node  cdp.BackendNodeID
	role  string
	name  string
	value string
	props map[string]string // states such as disabled, expanded, checked, focused
}

// matches reports whether a name is the wanted one, in which an ellipsis at an end stands for anything.
func matches(name, want string) bool {
	want, end := strings.CutSuffix(want, "…")
	want, begin := strings.CutPrefix(want, "…")
	switch {
	case begin && end:
		return strings.Contains(name, want)
	case end:
		return strings.HasPrefix(name, want)
	case begin:
		return strings.HasSuffix(name, want)
	}
	return name == want
}

// all are the controls of a role that have a name.
func (b screen) all(role, name string) ([]control, error) {
	if b.root != "" {
		return b.framed(role, name)
	}
	params := accessibility.QueryAXTreeParams{BackendNodeID: b.node, Role: role}
	if b.node == 0 {
		document, err := evaluate(b.soon(), "document")
		if err != nil {
			return nil, err
		}
		params.ObjectID = document
	}
	found, err := chromedp.Call(b.soon(), accessibility.QueryAXTree, params)
	if err != nil {
		return nil, err
	}
	var some []control
	for _, n := range found.Nodes {
		if c := controlOf(n); !n.Ignored && matches(c.name, name) && n.BackendDOMNodeID != b.node {
			some = append(some, c)
		}
	}
	return some, nil
}

// framed is all in a frame: Chromium may hang for ever when it is asked for the accessibility tree of a frame that goes on to
// another page, so roles and names are those of plain HTML.
func (b screen) framed(role, name string) ([]control, error) {
	list := b.root + `?.querySelectorAll({
		button: "button", link: "a[href]", heading: "h1, h2", alert: "[role=alert]", textbox: "input[type=text], input[type=password]", searchbox: "input[type=search]",
	}[` + strconv.Quote(role) + `])`
	names, err := chromedp.Run(b.soon(), chromedp.Evaluate[[]string](`[...(`+list+` ?? [])].map((e) => e.getAttribute("aria-label") ?? e.labels?.[0]?.innerText ?? e.innerText)`))
	if err != nil {
		return nil, err
	}
	var some []control
	for i, n := range names {
		n = strings.Join(strings.Fields(n), " ")
		if !matches(n, name) {
			continue
		}
		object, err := evaluate(b.soon(), fmt.Sprintf("%s[%d]", list, i))
		if err != nil {
			return nil, err
		}
		node, err := chromedp.Call(b.soon(), dom.DescribeNode, dom.DescribeNodeParams{ObjectID: object})
		if err != nil {
			return nil, err
		}
		some = append(some, control{node: node.Node.BackendNodeID, role: role, name: n, props: map[string]string{}})
	}
	return some, nil
}

func evaluate(ctx context.Context, expression string) (runtime.RemoteObjectID, error) {
	r, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: expression})
	if err != nil {
		return "", err
	}
	if r.ExceptionDetails != nil {
		return "", thrown(r.ExceptionDetails)
	}
	return r.Result.ObjectID, nil
}

func thrown(d *runtime.ExceptionDetails) error {
	if d.Exception != nil {
		return errors.New(d.Text + " " + d.Exception.Description)
	}
	return errors.New(d.Text)
}

func controlOf(n *accessibility.Node) control {
	c := control{node: n.BackendDOMNodeID, role: textOf(n.Role), name: strings.Join(strings.Fields(textOf(n.Name)), " "), value: textOf(n.Value), props: map[string]string{}}
	for _, p := range n.Properties {
		c.props[string(p.Name)] = textOf(p.Value)
	}
	return c
}

func textOf(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var text string
	if json.Unmarshal(v.Value, &text) == nil {
		return text
	}
	return string(v.Value)
}

// get waits until there is exactly one control of a role and name.
func (b screen) get(role, name string) control {
	b.t.Helper()
	var found control
	wait(b.t, fmt.Sprintf("one %s %q shows%s", role, name, b.where), func() string {
		some, err := b.all(role, name)
		if err != nil {
			return err.Error()
		}
		if len(some) != 1 {
			return fmt.Sprintf("there are %d", len(some))
		}
		found = some[0]
		return ""
	}, b.window)
	return found
}

// in is the part of the screen that a control encloses.
func (b screen) in(role, name string) screen {
	b.t.Helper()
	return screen{window: b.window, node: b.get(role, name).node, where: fmt.Sprintf(" in the %s %q", role, name)}
}

// gone waits until no control of a role and name is left.
func (b screen) gone(role, name string) {
	b.t.Helper()
	wait(b.t, fmt.Sprintf("no %s %q is left%s", role, name, b.where), func() string {
		some, err := b.all(role, name)
		if err != nil {
			return err.Error()
		}
		if len(some) > 0 {
			return fmt.Sprintf("there are %d", len(some))
		}
		return ""
	}, b.window)
}

// names are those of all controls of a role that show now.
func (b screen) names(role string) (names []string) {
	b.t.Helper()
	all, err := b.all(role, "…")
	b.try("list each "+role, err)
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

// click waits until a control shows, is enabled, and lies under nothing else, and clicks it.
func (b screen) click(role, name string) {
	b.t.Helper()
	wait(b.t, fmt.Sprintf("the %s %q can be clicked%s", role, name, b.where), func() string {
		some, err := b.all(role, name)
		switch {
		case err != nil:
			return err.Error()
		case len(some) != 1:
			return fmt.Sprintf("there are %d", len(some))
		case some[0].props["disabled"] == "true":
			return "it is disabled"
		}
		return b.press(some[0].node)
	}, b.window)
}

// press clicks with the mouse, and says what is in the way.
func (b screen) press(node cdp.BackendNodeID) string {
	if err := call(b.soon(), dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: node}); err != nil {
		return err.Error()
	}
	quads, err := chromedp.Call(b.soon(), dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: node})
	if err != nil || len(quads.Quads) == 0 {
		return fmt.Sprintf("it has no place on the screen (%v)", err)
	}
	q := quads.Quads[0]
	x, y := (q[0]+q[2]+q[4]+q[6])/4, (q[1]+q[3]+q[5]+q[7])/4
	free, err := on[bool](b.window, node, `function(x, y) {
		const frame = window.frameElement?.getBoundingClientRect() ?? {left: 0, top: 0};
		const at = document.elementFromPoint(x - frame.left, y - frame.top);
		return at !== null && (this.contains(at) || at.contains(this) || [...(this.labels ?? [])].some((l) => l.contains(at)));
	}`, x, y)
	if err != nil {
		return err.Error()
	}
	if !free {
		return "something lies over it"
	}
	if err := call(b.soon(), input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y}); err != nil {
		return err.Error()
	}
	if again, err := chromedp.Call(b.soon(), dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: node}); err != nil || len(again.Quads) == 0 || !slices.Equal(again.Quads[0], q) {
		return "it moves"
	}
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		p := input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: 1}
		// A click that closes the window, or leads to another page, may never be answered.
		if err := call(b.soon(), input.DispatchMouseEvent, p); err != nil && kind != input.DispatchMouseEventTypeMouseReleased {
			return err.Error()
		}
	}
	return ""
}

// call is a command whose answer does not matter.
func call[P, R any](ctx context.Context, cmd cdp.Command[P, R], params P) error {
	_, err := chromedp.Call(ctx, cmd, params)
	return err
}

// on calls a function of JavaScript on a control.
func on[T any](b *window, node cdp.BackendNodeID, function string, args ...any) (T, error) {
	var result T
	object, err := chromedp.Call(b.soon(), dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node})
	if err != nil {
		return result, err
	}
	params := runtime.CallFunctionOnParams{FunctionDeclaration: function, ObjectID: object.Object.ObjectID, ReturnByValue: new(true)}
	for _, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			return result, err
		}
		params.Arguments = append(params.Arguments, &runtime.CallArgument{Value: text})
	}
	answer, err := chromedp.Call(b.soon(), runtime.CallFunctionOn, params)
	if err != nil {
		return result, err
	}
	if answer.ExceptionDetails != nil {
		return result, thrown(answer.ExceptionDetails)
	}
	if len(answer.Result.Value) > 0 {
		err = json.Unmarshal(answer.Result.Value, &result)
	}
	return result, err
}

// fill writes into a field instead of what is there.
func (b screen) fill(role, name, text string) {
	b.t.Helper()
	b.click(role, name)
	_, err := on[any](b.window, b.get(role, name).node, `function() { this.select(); }`)
	b.try("select what is there", err)
	b.try("write", call(b.soon(), input.InsertText, input.InsertTextParams{Text: text}))
}

// set gives a value to what only the browser's own pickers change: dates and lists.
func (b screen) set(role, name, value string) {
	b.t.Helper()
	done, err := on[bool](b.window, b.get(role, name).node, `function(value) {
		const option = [...(this.options ?? [])].find((o) => o.label.trim() === value);
		this.focus();
		this.value = option ? option.value : value;
		this.dispatchEvent(new Event("input", {bubbles: true}));
		this.dispatchEvent(new Event("change", {bubbles: true}));
		return !this.options || !!option;
	}`, value)
	b.try("set "+name, err)
	if !done {
		b.t.Fatalf("the %s %q offers no %q\n%s", role, name, value, b.outline())
	}
}

// check turns a checkbox or radio on or off.
func (b screen) check(role, name string, to bool) {
	b.t.Helper()
	if got := b.get(role, name).props["checked"] == "true"; got != to {
		b.click(role, name)
	}
}

// says waits until a text shows.
func (b screen) says(text string) {
	b.t.Helper()
	wait(b.t, fmt.Sprintf("%q shows%s", text, b.where), func() string {
		shown, err := b.text()
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(shown, text) {
			return "it says " + shown
		}
		return ""
	}, nil)
}

// saysNot fails where a text shows.
func (b screen) saysNot(text string) {
	b.t.Helper()
	shown, err := b.text()
	b.try("read the screen", err)
	if strings.Contains(shown, text) {
		b.t.Errorf("it says %q:\n%s", text, shown)
	}
}

// text is what shows, each run of spaces one.
func (b screen) text() (string, error) {
	var text string
	var err error
	if b.node != 0 {
		text, err = on[string](b.window, b.node, `function() { return this.innerText; }`)
	} else {
		text, err = chromedp.Run(b.soon(), chromedp.Evaluate[string](b.document()+`?.body?.innerText ?? ""`))
	}
	return strings.Join(strings.Fields(text), " "), err
}

// outline is what a screen reader finds, for people who look for the reason of a failure.
func (b *window) outline() string {
	tree, err := chromedp.Call(b.soon(), accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		return err.Error()
	}
	children := map[accessibility.NodeID][]*accessibility.Node{}
	for _, n := range tree.Nodes {
		children[n.ParentID] = append(children[n.ParentID], n)
	}
	lines := []string{"the screen:"}
	var list func(of accessibility.NodeID)
	list = func(of accessibility.NodeID) {
		for _, n := range children[of] {
			if c := controlOf(n); !n.Ignored && !slices.Contains(unsaid, c.role) {
				lines = append(lines, strings.TrimSuffix(fmt.Sprintf("  %s %q = %s", c.role, c.name, c.value), " = "))
			}
			list(n.NodeID)
		}
	}
	list("")
	const most = 200
	return strings.Join(lines[:min(len(lines), most)], "\n")
}

// unsaid are roles that only structure what is said.
var unsaid = []string{"none", "generic", "InlineTextBox", "LineBreak", "paragraph", "ListMarker", "row", "rowgroup", "cell", "LayoutTableCell", "LayoutTableRow"}
