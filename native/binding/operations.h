// Every operation of the binding; native.ts declares their arguments. Each reads its arguments,
// asks the core once, and puts the results into the reply.
#pragma once

#include "call.h"

namespace pagedkv::binding {

// managers.cc
Status Measure(const Call& call);
Status Create(const Call& call);
Status CloseManager(const Call& call);
Status Clear(const Call& call);
Status SetQuota(const Call& call);
Status GetStats(const Call& call);
Napi::Value Validate(const Call& call);
Status TakeEvents(const Call& call);
Napi::Value NamespaceOf(const Call& call);
Napi::Value KeyOf(const Call& call);

// sequences.cc
Status Open(const Call& call);
Status Pin(const Call& call);
Status Lookup(const Call& call);
Status Admission(const Call& call);
Status Fork(const Call& call);
Status Truncate(const Call& call);
Status Retain(const Call& call);
Status RetainPrompt(const Call& call);
Status ExpectReuse(const Call& call);
Status Resume(const Call& call);
Status CloseSequence(const Call& call);

// costs.cc
Status ReportTransfer(const Call& call);
Status ReportPrefill(const Call& call);
Status GetCosts(const Call& call);

// steps.cc
Status Schedule(const Call& call);
Status BeginExecute(const Call& call);
Status EndExecute(const Call& call);
Status Accept(const Call& call);
Status Commit(const Call& call);
Status Abort(const Call& call);
Status Preempt(const Call& call);
Status Victim(const Call& call);
Status Demote(const Call& call);
Status Prefetch(const Call& call);
Status BeginTransfer(const Call& call);
Status EndTransfer(const Call& call);

// heap.cc
Status MeasureHeap(const Call& call);

// memory.cc
Status CreateMemory(const Call& call);
Napi::Value ViewMemory(const Call& call);
Napi::Value TouchMemory(const Call& call);
Status CloseMemory(const Call& call);
Status ForgetMemory(const Call& call);
Status MoveBlocks(const Call& call);
Status CopyPlainly(const Call& call);
Status DrainMoves(const Call& call);
Status ReadThreadClock(const Call& call);
Status SetCopyThreads(const Call& call);
Napi::Value BeginMoveBlocks(const Call& call);

}  // namespace pagedkv::binding
