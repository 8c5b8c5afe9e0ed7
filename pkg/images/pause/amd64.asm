# Holds a sandbox's namespaces open: waits for signals, reaps what is orphaned to it, ends at SIGINT or SIGTERM.
# The signals are blocked and taken with rt_sigtimedwait: for PID 1 the kernel drops an unhandled signal that is not blocked.
	.globl	_start
_start:
	mov	$14, %eax		# rt_sigprocmask(SIG_BLOCK, &set, NULL, 8)
	xor	%edi, %edi
	lea	set(%rip), %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
next:
	mov	$128, %eax		# rt_sigtimedwait(&set, NULL, NULL, 8)
	lea	set(%rip), %rdi
	xor	%esi, %esi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
	cmp	$2, %rax		# SIGINT
	je	end
	cmp	$15, %rax		# SIGTERM
	je	end
	cmp	$17, %rax		# SIGCHLD
	jne	next
reap:
	mov	$61, %eax		# wait4(-1, NULL, WNOHANG, NULL)
	mov	$-1, %rdi
	xor	%esi, %esi
	mov	$1, %edx
	xor	%r10d, %r10d
	syscall
	test	%rax, %rax
	jg	reap
	jmp	next
end:
	mov	$231, %eax		# exit_group(0)
	xor	%edi, %edi
	syscall
	.balign	8
set:
	.quad	(1 << 1) | (1 << 14) | (1 << 16)	# SIGINT, SIGTERM, SIGCHLD
