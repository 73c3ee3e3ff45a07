package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// live redraws the board in place on a terminal: when something is told, and
// twice a second for the clock.
type live struct {
	out    *os.File
	paint  paint
	titles func(operation string) []string

	mu     sync.Mutex
	board  board
	drawn  int // lines on the screen
	closed bool
	stop   chan struct{}
	done   chan struct{}
}

func newLive(out *os.File, colours bool, titles func(operation string) []string) *live {
	l := &live{out: out, paint: paint(colours), titles: titles, stop: make(chan struct{}), done: make(chan struct{})}
	go l.tick()
	return l
}

func (l *live) tick() {
	defer close(l.done)
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
			l.mu.Lock()
			l.draw()
			l.mu.Unlock()
		}
	}
}

func (l *live) event(e jobs.Event) {
	// Control operations have no stages, and rejections no operation.
	if l.titles != nil && e.Data.Step != nil {
		titles := l.titles(e.Data.OperationID)
		l.titles = nil
		l.mu.Lock()
		l.board.titles = titles
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.board.take(e)
	l.draw()
}

// note writes a line above the board.
func (l *live) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	_, _ = fmt.Fprint(l.out, l.up()+clean(text)+"\x1b[K\r\n\x1b[J")
	l.drawn = 0
	l.draw()
}

// close leaves the board as it is on the screen.
func (l *live) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.draw()
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	<-l.done
}

// up moves the cursor to where the board begins.
func (l *live) up() string {
	if l.drawn == 0 {
		return "\r"
	}
	return fmt.Sprintf("\x1b[%dA\r", l.drawn)
}

// draw puts the board over the one that was drawn before.
func (l *live) draw() {
	if l.closed {
		return
	}
	width, height, err := term.GetSize(int(l.out.Fd()))
	if err != nil || width < 1 || height < 3 {
		width, height = 80, 24
	}
	lines := l.board.lines(time.Now(), width-1, height-1, l.paint)
	var b strings.Builder
	b.WriteString(l.up())
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	_, _ = l.out.WriteString(b.String()) // progress is told, not kept
	l.drawn = len(lines)
}
