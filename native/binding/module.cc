// What loading the addon gives: the operations, and the limits that TypeScript checks against
// first.
#include "operations.h"

namespace pagedkv::binding {
namespace {

template <auto kBody>
void Add(Napi::Object exports, const char* name, Environment& environment) {
  const Napi::Env env = exports.Env();
  exports.Set(name, Napi::Function::New<Entry<kBody>>(env, name, &environment));
}

void AddOperations(Napi::Object exports, Environment& environment) {
  Add<Measure>(exports, "measure", environment);
  Add<Create>(exports, "create", environment);
  Add<CloseManager>(exports, "closeManager", environment);
  Add<Clear>(exports, "clear", environment);
  Add<SetQuota>(exports, "setQuota", environment);
  Add<GetStats>(exports, "getStats", environment);
  Add<Validate>(exports, "validate", environment);
  Add<TakeEvents>(exports, "takeEvents", environment);
  Add<NamespaceOf>(exports, "namespaceOf", environment);
  Add<KeyOf>(exports, "keyOf", environment);
  Add<Open>(exports, "open", environment);
  Add<Pin>(exports, "pin", environment);
  Add<Lookup>(exports, "lookup", environment);
  Add<Admission>(exports, "admission", environment);
  Add<Fork>(exports, "fork", environment);
  Add<Truncate>(exports, "truncate", environment);
  Add<Retain>(exports, "retain", environment);
  Add<RetainPrompt>(exports, "retainPrompt", environment);
  Add<ExpectReuse>(exports, "expectReuse", environment);
  Add<Resume>(exports, "resume", environment);
  Add<CloseSequence>(exports, "closeSequence", environment);
  Add<Schedule>(exports, "schedule", environment);
  Add<BeginExecute>(exports, "beginExecute", environment);
  Add<EndExecute>(exports, "endExecute", environment);
  Add<Accept>(exports, "accept", environment);
  Add<Commit>(exports, "commit", environment);
  Add<Abort>(exports, "abort", environment);
  Add<Preempt>(exports, "preempt", environment);
  Add<Victim>(exports, "victim", environment);
  Add<ReportTransfer>(exports, "reportTransfer", environment);
  Add<ReportPrefill>(exports, "reportPrefill", environment);
  Add<GetCosts>(exports, "getCosts", environment);
  Add<Demote>(exports, "demote", environment);
  Add<Prefetch>(exports, "prefetch", environment);
  Add<BeginTransfer>(exports, "beginTransfer", environment);
  Add<EndTransfer>(exports, "endTransfer", environment);
  Add<MeasureHeap>(exports, "measureHeap", environment);
  Add<CreateMemory>(exports, "createMemory", environment);
  Add<ViewMemory>(exports, "viewMemory", environment);
  Add<TouchMemory>(exports, "touchMemory", environment);
  Add<CloseMemory>(exports, "closeMemory", environment);
  Add<ForgetMemory>(exports, "forgetMemory", environment);
  Add<MoveBlocks>(exports, "moveBlocks", environment);
  Add<CopyPlainly>(exports, "copyPlainly", environment);
  Add<DrainMoves>(exports, "drainMoves", environment);
  Add<ReadThreadClock>(exports, "readThreadClock", environment);
  Add<SetCopyThreads>(exports, "setCopyThreads", environment);
  Add<BeginMoveBlocks>(exports, "beginMoveBlocks", environment);
}

void AddLimits(Napi::Object exports) {
  exports.Set("replyWords", kReplyWords);
  exports.Set("maxNamespaceBytes", static_cast<std::uint32_t>(kMaxNamespaceBytes));
  exports.Set("maxKeyRanges", kMaxKeyRanges);
  exports.Set("maxKeyBytes", kMaxKeyBytes);
  exports.Set("maxBlocksPerPool", kMaxBlocksPerPool);
  exports.Set("maxBlockSize", kMaxBlockSize);
  exports.Set("maxGroups", kMaxGroups);
  exports.Set("maxSequences", kMaxSequences);
  exports.Set("maxSequenceTokens", kMaxSequenceTokens);
  exports.Set("maxOpenSteps", kMaxOpenSteps);
  exports.Set("priorities", static_cast<std::uint32_t>(kPriorities));
}

Napi::Object Load(Napi::Env env, Napi::Object exports) {
  AddOperations(exports, Environment::Of(env));
  AddLimits(exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(pagedkv, Load)

}  // namespace pagedkv::binding
