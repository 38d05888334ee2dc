#include "quota_audit.h"

#include <array>
#include <functional>
#include <vector>

namespace pagedkv {
namespace {

class QuotaAudit {
 public:
  explicit QuotaAudit(const Manager::State& state)
      : s_(state), index_(state.index), pool_(state.pools[0]), shares_(state.quotas.size()) {}

  void Check() {
    CheckRuns();
    if (!s_.quotas.any()) return;
    CountBlocks();
    CheckTails();
    CheckClaims();
    CheckSteps();
    CheckTransfers();
    CompareShares();
  }

  void Tell(Digest& digest) const {
    for (const auto& [name, partition] : s_.quotas.names()) {
      digest.Add(std::hash<std::string>()(name));
      for (const Tier tier : {Tier::kDevice, Tier::kHost}) {
        const Quotas::Share& share = s_.quotas.share(tier, partition);
        for (const std::uint32_t count :
             {share.limits.min, share.limits.max, share.used, share.leaving}) {
          digest.Add(count);
        }
      }
    }
  }

 private:
  struct Counts {
    std::uint32_t used = 0;
    std::uint32_t leaving = 0;
  };

  Counts& CountsOf(BlockId block, PartitionId partition) {
    return shares_[partition][pool_.IsHost(block) ? 1 : 0];
  }
  std::uint32_t total() const { return pool_.device_total() + pool_.host_total(); }
  PartitionId OwnerOfTail(TailId tail) const { return s_.quotas.owner(s_.TailSet(tail)[0]); }

  void CheckRuns() const {
    for (const auto& [root, name] : s_.root_names) {
      Require(index_.lists().partition(root) == s_.quotas.Find(name),
              "a namespace is in another partition than its quota says");
    }
    for (BlockId block = 0; block < total(); ++block) {
      if (pool_.state(block) != BlockState::kIndexed) continue;
      const RunId run = pool_.run(block);
      const PartitionId partition = index_.lists().partition(run);
      Require(partition == index_.lists().partition(index_.run(run).parent),
              "a run is in another partition than its parent");
      Require(partition == s_.quotas.owner(block), "an indexed block is another partition's");
    }
  }

  void CountBlocks() {
    for (BlockId block = 0; block < total(); ++block) {
      const PartitionId owner = s_.quotas.owner(block);
      if (pool_.state(block) == BlockState::kFree || pool_.state(block) == BlockState::kMirror) {
        Require(owner == 0, "a free block or a mirror is a partition's");
      } else {
        CountsOf(block, owner).used++;
      }
    }
  }

  void CheckTails() const {
    for (const Sequence& sequence : s_.sequences) {
      if (sequence.state == SequenceState::kClosed || sequence.tail == kNone) continue;
      if (s_.tails[sequence.tail].run != kNone) continue;
      Require(OwnerOfTail(sequence.tail) == s_.PartitionOf(sequence.run),
              "a tail's block is another partition's");
    }
  }

  void CheckClaims() {
    for (std::uint64_t number = s_.claim_front; number < s_.claim_back; ++number) {
      const Claim& claim = s_.ClaimAt(number);
      const BlockId block = s_.ClaimSet(number)[0];
      const PartitionId owner = s_.quotas.owner(block);
      if (claim.run != kNone) {
        Require(owner == s_.PartitionOf(claim.run), "a claimed block is another partition's");
      }
      const bool is_used = (claim.used_groups & 1u) != 0;
      if (!is_used || claim.user != owner) CountsOf(block, owner).leaving++;
      if (is_used && claim.user != owner) CountsOf(block, claim.user).used++;
      if (!claim.offloads) continue;
      const BlockId target = s_.ClaimTarget(number)[0];
      const bool is_own = (claim.target_claimed & 1u) == 0;
      Require((is_own ? s_.quotas.owner(target) : UserOf(target)) == owner,
              "an offload goes to another partition's block");
    }
  }

  PartitionId UserOf(BlockId block) const {
    for (std::uint64_t number = s_.claim_front; number < s_.claim_back; ++number) {
      if (s_.ClaimSet(number)[0] == block) return s_.ClaimAt(number).user;
    }
    throw Broken{"a block comes from a claim that is not there"};
  }

  void CheckSteps() const {
    for (const std::uint32_t slot : s_.open_steps) {
      const Step& step = s_.steps[slot];
      for (const EntryChange& change : step.changes) {
        const PartitionId partition = s_.PartitionOf(s_.sequences[change.sequence].run);
        for (std::uint32_t set = change.first_set; set < change.first_set + change.sets; ++set)
          CheckSet(step, set, partition);
      }
      for (std::size_t i = 0; i < step.onboards.size(); ++i) {
        const PartitionId partition = s_.quotas.owner(step.onboard_hosts[i * s_.groups]);
        CheckSet(step, step.onboards[i].set, partition);
      }
    }
  }

  void CheckSet(const Step& step, std::uint32_t set, PartitionId partition) const {
    const BlockId block = step.sets[std::size_t{set} * s_.groups];
    if (block == kNone) return;
    const bool is_claimed = step.state == StepState::kPlanned && (block & kFromClaim) != 0;
    const BlockId plain = block & ~kFromClaim;
    Require((is_claimed ? UserOf(plain) : s_.quotas.owner(plain)) == partition,
            "a step's block is another partition's");
  }

  void CheckTransfers() const {
    for (const auto& transfer : s_.transfers) {
      for (std::size_t i = 0; i < transfer.device_sets.size(); i += s_.groups) {
        const BlockId device = transfer.device_sets[i];
        if (pool_.copy(device) != transfer.host_sets[i]) continue;
        Require(s_.quotas.owner(device) == s_.quotas.owner(transfer.host_sets[i]),
                "a transfer goes to another partition's block");
      }
    }
  }

  void CompareShares() const {
    for (std::uint32_t id = 0; id < s_.quotas.size(); ++id) {
      for (const Tier tier : {Tier::kDevice, Tier::kHost}) {
        const Counts& counts = shares_[id][static_cast<std::size_t>(tier)];
        const Quotas::Share& share = s_.quotas.share(tier, static_cast<PartitionId>(id));
        Require(counts.used == share.used, "a count of a partition's blocks is off");
        Require(counts.leaving == share.leaving, "a count of blocks that are leaving is off");
        Require(share.used <= share.ceiling, "a partition occupies more than it may");
      }
    }
  }

  const Manager::State& s_;
  const PrefixIndex& index_;
  const BlockPool& pool_;
  std::vector<std::array<Counts, kTiers>> shares_;
};

}  // namespace

void AuditQuotas(const Manager::State& state, Digest& digest) {
  QuotaAudit audit(state);
  audit.Check();
  audit.Tell(digest);
}

}  // namespace pagedkv
