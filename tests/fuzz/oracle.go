// oracle.go - runs the scripts that fuzz_programs writes with Go's own context,
// and compares what every context says after every call: its state, its deadline
// and its values.
//
//	fuzz_programs --script --count 1000 | oracle
//
// A script is made of lines: "program" begins a new one with three handles: a root
// that can be cancelled, background and TODO; "derive P", "deadline P T" and
// "value P K V" append a handle below handle P; "cancel H" ends one, "end H" ends it
// and "drop H" does not, and the last handle then takes the place of H. A line that
// begins with "=" holds what canopy said of each handle; "end" says that all is there.
//
// Where the two differ by design, and what is done about it here:
//   - Time. Go's is real, the programs' is not and never moves in a script: what lies
//     at or before its beginning is taken to be long past, all else to be far ahead.
//   - Moments before zero: canopy tells them as zero; the script says what it tells.
//   - CANOPY_NEVER is no deadline; Go has no such moment. The script says "derive".
//   - NULL bound to a key: canopy tells it from no binding, Value does not.
//   - A handle that is dropped but not cancelled: canopy frees it with what is
//     derived from it, Go keeps it until its parent ends. Nothing is to be seen of it.
//   - Cancelling a value layer: canopy refuses, Go has no function for it.
//   - Causes, merges, callbacks and contexts that let no cancel through are younger
//     than Go 1.19; moving a deadline and reuse do not exist there at all.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	programBegin = 1000             // the moment at which every program stands still
	distance     = 1000 * time.Hour // of the past and the future from now
	keys         = 3
)

type key int

type handle struct {
	ctx    context.Context
	cancel context.CancelFunc // nil where there is none
}

var begin = time.Now()

func toReal(moment int64) time.Time {
	if moment <= programBegin {
		return begin.Add(time.Duration(moment) - distance)
	}
	return begin.Add(time.Duration(moment) + distance)
}

func fromReal(moment time.Time) int64 {
	if moment.Before(begin) {
		return int64(moment.Sub(begin) + distance)
	}
	return int64(moment.Sub(begin) - distance)
}

// state says what canopy's side says of a handle, in the same words.
func state(ctx context.Context) string {
	word := "live"
	done := false
	select {
	case <-ctx.Done():
		done = true
	default:
	}
	switch err := ctx.Err(); {
	case (err != nil) != done:
		word = "torn"
	case errors.Is(err, context.DeadlineExceeded):
		word = "late"
	case err != nil:
		word = "canceled"
	}
	var text strings.Builder
	text.WriteString(word)
	if deadline, ok := ctx.Deadline(); ok {
		fmt.Fprintf(&text, " %d", fromReal(deadline))
	} else {
		text.WriteString(" -")
	}
	for k := key(0); k < keys; k++ {
		if value, ok := ctx.Value(k).(int); ok {
			fmt.Fprintf(&text, " %d", value)
		} else {
			text.WriteString(" -")
		}
	}
	return text.String()
}

type oracle struct {
	handles  []handle
	all      []context.CancelFunc
	programs int
	compared int
	whole    bool
}

func (o *oracle) add(ctx context.Context, cancel context.CancelFunc) {
	o.handles = append(o.handles, handle{ctx, cancel})
	if cancel != nil {
		o.all = append(o.all, cancel)
	}
}

func (o *oracle) remove(h int) {
	last := len(o.handles) - 1
	o.handles[h] = o.handles[last]
	o.handles = o.handles[:last]
}

func (o *oracle) restart() {
	for _, cancel := range o.all {
		cancel()
	}
	o.handles, o.all = nil, nil
	o.add(context.WithCancel(context.Background()))
	o.add(context.Background(), nil)
	o.add(context.TODO(), nil)
	o.programs++
}

func (o *oracle) compare(line string) error {
	var text strings.Builder
	text.WriteString("=")
	for _, h := range o.handles {
		text.WriteString(" " + state(h.ctx))
	}
	o.compared++
	if text.String() != line {
		return fmt.Errorf("canopy says %q\nand Go     %q", line, text.String())
	}
	return nil
}

func (o *oracle) cancel(h int) {
	if o.handles[h].cancel != nil {
		o.handles[h].cancel()
	}
}

// line runs one line of a script.
func (o *oracle) line(line string) error {
	if strings.HasPrefix(line, "=") {
		return o.compare(line)
	}
	if line == "end" {
		o.whole = true
		return nil
	}
	fields := strings.Fields(line)
	if len(fields) == 1 && fields[0] == "program" {
		o.restart()
		return nil
	}
	numbers := make([]int64, 0, 3)
	for _, field := range fields[1:] {
		number, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	word := fmt.Sprintf("%s/%d", fields[0], len(numbers))
	if len(numbers) == 0 || numbers[0] < 0 || numbers[0] >= int64(len(o.handles)) {
		return fmt.Errorf("not a script: %q", line)
	}
	h := int(numbers[0])
	parent := o.handles[h].ctx
	switch word {
	case "derive/1":
		o.add(context.WithCancel(parent))
	case "deadline/2":
		o.add(context.WithDeadline(parent, toReal(numbers[1])))
	case "value/3":
		var value interface{}
		if numbers[2] >= 0 {
			value = int(numbers[2])
		}
		o.add(context.WithValue(parent, key(numbers[1]), value), nil)
	case "cancel/1":
		o.cancel(h)
	case "end/1":
		o.cancel(h)
		o.remove(h)
	case "drop/1":
		o.remove(h)
	default:
		return fmt.Errorf("not a script: %q", line)
	}
	return nil
}

func main() {
	var o oracle
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for number := 1; input.Scan(); number++ {
		if err := o.line(input.Text()); err != nil {
			fmt.Fprintf(os.Stderr, "line %d, program %d: %v\n", number, o.programs-1, err)
			os.Exit(1)
		}
	}
	if err := input.Err(); err != nil || !o.whole {
		fmt.Fprintln(os.Stderr, "the script ends early:", err)
		os.Exit(1)
	}
	fmt.Printf("%d programs, compared after %d calls: as Go says\n", o.programs, o.compared)
}
