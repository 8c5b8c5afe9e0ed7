// As amd64.asm.
	.globl	_start
_start:
	mov	x8, #135		// rt_sigprocmask(SIG_BLOCK, &set, NULL, 8)
	mov	x0, #0
	adr	x1, set
	mov	x2, #0
	mov	x3, #8
	svc	#0
next:
	mov	x8, #137		// rt_sigtimedwait(&set, NULL, NULL, 8)
	adr	x0, set
	mov	x1, #0
	mov	x2, #0
	mov	x3, #8
	svc	#0
	cmp	x0, #2			// SIGINT
	b.eq	end
	cmp	x0, #15			// SIGTERM
	b.eq	end
	cmp	x0, #17			// SIGCHLD
	b.ne	next
reap:
	mov	x8, #260		// wait4(-1, NULL, WNOHANG, NULL)
	mov	x0, #-1
	mov	x1, #0
	mov	x2, #1
	mov	x3, #0
	svc	#0
	cmp	x0, #0
	b.gt	reap
	b	next
end:
	mov	x8, #94			// exit_group(0)
	mov	x0, #0
	svc	#0
	.balign	8
set:
	.quad	(1 << 1) | (1 << 14) | (1 << 16)	// SIGINT, SIGTERM, SIGCHLD
