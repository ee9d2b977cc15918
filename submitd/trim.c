/* What a start leaves behind: see trim.h. */
#include "trim.h"

#include <sys/mman.h>

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Whether the linker has written into pages that can't be written any more. */
static bool
is_changed(const struct dl_phdr_info *o)
{
	const ElfW(Dyn) *d = NULL;
	int i;

	for (i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (const void *)(o->dlpi_addr +
			    o->dlpi_phdr[i].p_vaddr);
	for (; d != NULL && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_TEXTREL ||
		    (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL) != 0))
			return true;
	return false;
}

/* What is as it is in the file. */
static int
unmap_text(struct dl_phdr_info *o, size_t size, void *arg)
{
	uintptr_t page = *(const uintptr_t *)arg, at, end;
	const ElfW(Phdr) * h;
	int i;

	(void)size;
	if (is_changed(o))
		return 0;
	for (i = 0; i < o->dlpi_phnum; i++) {
		h = &o->dlpi_phdr[i];
		if (h->p_type != PT_LOAD || (h->p_flags & PF_W) != 0)
			continue;
		at = (o->dlpi_addr + h->p_vaddr) / page * page;
		end = o->dlpi_addr + h->p_vaddr + h->p_memsz;
		/* the kernel's own piece (vdso) refuses: fine */
		madvise((void *)at, end - at, MADV_DONTNEED);
	}
	return 0;
}

void
trim_start(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	malloc_trim(0);
	dl_iterate_phdr(unmap_text, &page);
}
