// What quotas promise, watched from outside through what namespaces are told to occupy: nobody
// passes its max, and nobody loses what it keeps by what others do.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "../core/manager.h"

namespace pagedkv::test {

class QuotaWatch {
 public:
  void Set(std::string_view name_space, const Quota& quota);
  // After an operation for these namespaces; nullopt where it may have been for any.
  void Check(const Manager& manager, const std::optional<std::set<std::string>>& acting);
  const std::map<std::string, Quota, std::less<>>& quotas() const { return quotas_; }

 private:
  std::map<std::string, Quota, std::less<>> quotas_;
  std::map<std::string, Usage, std::less<>> before_;
};

}  // namespace pagedkv::test
